"""``python -m builders build ...`` is ``nws build ...``, from a checkout that is not installed."""

from __future__ import annotations

import sys

from nws_data.cli import main

sys.exit(main())
