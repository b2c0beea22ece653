"""Ctrl-C waits for a moment that can bear it."""

from __future__ import annotations

import os
import signal

import pytest

from builders.run.interrupts import deferred_interrupts, same_handlers


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_until_it_is_asked_for(number):
    def refuse(number, frame):
        raise AssertionError("not deferred")

    before = signal.signal(number, refuse)
    try:
        with deferred_interrupts() as check:
            check()
            os.kill(os.getpid(), number)
            with pytest.raises(KeyboardInterrupt) as caught:
                check()
            assert caught.value.args == (number,)
        assert signal.getsignal(number) is refuse
    finally:
        signal.signal(number, before)


def test_an_interrupt_that_was_not_asked_for_comes_at_the_end():
    with pytest.raises(KeyboardInterrupt), deferred_interrupts():
        os.kill(os.getpid(), signal.SIGINT)


def test_the_second_interrupt_does_not_wait():
    with deferred_interrupts() as check:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check()


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with deferred_interrupts() as check:
            os.kill(os.getpid(), signal.SIGHUP)
            check()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with same_handlers():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is before
