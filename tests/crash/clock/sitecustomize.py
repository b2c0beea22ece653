"""A wall clock that is wrong or jumps, for this process and its children: NWS_TEST_CLOCK=SECONDS or ``jumps``."""

import datetime
import os
import random
import time

_setting = os.environ.get("NWS_TEST_CLOCK", "")
_TEN_YEARS = 10 * 365 * 86_400


def _shift() -> float:
    return random.choice((-1, 1)) * random.random() * _TEN_YEARS if _setting == "jumps" else float(_setting)


def install() -> None:
    """Replace what tells the time of day; the monotonic clock stays as it is, as in real life."""
    real_time, real_datetime = time.time, datetime.datetime

    class Datetime(real_datetime):
        @classmethod
        def now(cls, tz=None):
            return real_datetime.fromtimestamp(time.time(), tz)

    time.time = lambda: real_time() + _shift()
    time.time_ns = lambda: int(time.time() * 1e9)
    datetime.datetime = Datetime


if _setting:
    install()
