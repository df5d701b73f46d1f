from __future__ import annotations

import os
import signal
import threading

import pytest

from gasang.cli.listener import Listener
from gasang.cli.signals import Ended, ending_is_an_exception


def test_an_ending_signal_unwinds() -> None:
    def end() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(20)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Ended) as caught, ending_is_an_exception():
        end()
    assert caught.value.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_is_an_exception():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_listener_hears_what_the_main_thread_would_sleep_through() -> None:
    listener = Listener()
    heard = [threading.Event(), threading.Event()]
    listener.listen(signal.SIGUSR1, heard[0].set)
    listener.listen(signal.SIGUSR2, heard[1].set)
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert heard[0].wait(20)
        assert not heard[1].is_set()
        os.kill(os.getpid(), signal.SIGUSR2)
        assert heard[1].wait(20)
    finally:
        listener.close()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert not any(thread.name == "signals" for thread in threading.enumerate())


def test_outside_the_main_thread_nothing_is_touched() -> None:
    results: list[object] = []

    def other() -> None:
        listener = Listener()
        listener.listen(signal.SIGUSR1, lambda: None)
        with ending_is_an_exception():
            results.append(signal.getsignal(signal.SIGUSR1))
        listener.close()

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert results == [signal.SIG_DFL]
