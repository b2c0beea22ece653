"""The text of the dataset cards that the wheel writes; the repository's dataset_card.md is of new builds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nws_data.space.trajectory import SNAPSHOTS, snapshots_text

EVALUATION = "original-2020"
"""In a plan: accuracies were measured in the training graph, on augmented images, with batch norm's batch statistics."""

_HOLDS = """
## How the trainings went

![Test accuracy over the progress of the trainings](trainings.svg)

## Composition

{splits}

*passing* counts trainings whose final test accuracy exceeds the threshold of their image set. All {n_each} snapshots of a
training are in one split.

{training_facts}

Image sets (the images themselves are not part of this dataset):

{image_sets}

Final test accuracies:

{accuracies}

## Collection

{builds}

## Licences of the image sets

{licences}

## How to load

```python
from datasets import load_dataset

snapshots = load_dataset("nws", "{default_config}", split="train")  # metadata, one row per snapshot
```

`nws` is a local folder or the name of a hub repository. FORMAT.md of the package `nws_data` describes every byte; the
weights are safetensors files, whose place each row gives.

Data digest: `{data_digest}`.

## Source

Eilertsen, Jönsson, Ropinski, Unger and Ynnerman, *Classifying the classifier: dissecting the weight space of neural
networks* (ECAI 2020).
"""

_ACCURACIES = """## Limits

**Accuracies are those of 2020**: measured in the training graph, on augmented images where a training has
augmentation, with batch norm's statistics of the batch; each evaluation also moved the running statistics. Train accuracy is
the mean over the batches of the epoch. An evaluation of these weights on clean images gives other numbers.
"""

IMPORTED = (
    """# NWS: the neural weight space dataset, the release of 2020

{n_trainings} small convolutional image classifiers that the authors trained for their paper of 2020, with 20 snapshots of
all weights along each training: {n_snapshots} weight vectors, {size}. Converted by `nws import-original`; the
weights are theirs, value by value, as float32.

"""
    + _ACCURACIES
    + """
**Splits are the authors'**: the lists of converged trainings. Of each train list about a tenth is `validation`, which they
drew by snapshot. Trainings in no list have plan indices from 500,000 on and the split `none`; no official task and no
other split has them.

**Unknown**, and marked so: seeds (0 in the column `seed`), images and their digests, random number generator, device,
versions, hosts and dates. Why a training stopped is derived from its errors by the rules of the authors' script.
"""
    + _HOLDS
)

_DERIVED = """# NWS: the neural weight space dataset, a part

{n_trainings} trained image classifiers with {n_each} snapshots of all weights each: {n_snapshots} weight vectors, {size}.
The trainings are those of other datasets, put together by `nws subset` or `nws merge`; ids, splits and all values are
theirs. A chosen part is no fair sample of the population, and its numbers do not compare with those of the whole.
"""


def derived_card(plans: Sequence[Mapping[str, Any]], snapshots: Sequence[int]) -> str:
    """Return the template for parts of datasets with these plans, and snapshots of these numbers."""
    imported = any(plan.get("evaluation") == EVALUATION for plan in plans)
    chosen = ""
    if tuple(snapshots) != SNAPSHOTS:
        chosen = (
            f"\nOf the {len(SNAPSHOTS)} snapshots of each training **{snapshots_text(snapshots)}** are here; 0 is the\n"
            f"initialisation, {SNAPSHOTS[-1]} the converged model. The table of trainings has whole learning curves and\n"
            "the epochs of all snapshots.\n"
        )
    return _DERIVED + chosen + (f"\n{_ACCURACIES}" if imported else "") + _HOLDS
