"""Working while nobody else does is another thread's."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from gasang.host.idling import while_idle


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux schedules like this")
def test_the_caller_goes_on_as_it_was_when_the_work_is_done() -> None:
    found: list[tuple[int, int]] = []
    while_idle(lambda: found.append((os.sched_getscheduler(0), threading.get_ident())))
    [(policy, worker)] = found
    assert policy == os.SCHED_IDLE
    assert worker != threading.get_ident()
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
