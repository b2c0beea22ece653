"""``python -m nws_data`` is the command ``nws``."""

from __future__ import annotations

import sys

from nws_data.cli import main

sys.exit(main())
