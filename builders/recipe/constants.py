"""Constants of a training that every backend takes: in Python from here, in C as macros, in Triton as constexpr.

What belongs to a published network as well (the activations as functions, epsilon and momentum of batch norm) stands in
``nws_data/space/network.py``; rates and coefficients in ``optimizers.py`` beside this file.
"""

from __future__ import annotations

from nws_data.space.hyperparameters import CLASSES

ACTIVATION_CODES: dict[str, int] = {name: code for code, name in enumerate(CLASSES["activation"])}

DROPOUT_SCALE = 2
"""Factor of the hidden units that dropout keeps. A unit is kept or not by one random bit, so half of them are: the two
belong together, and there is no other rate."""
