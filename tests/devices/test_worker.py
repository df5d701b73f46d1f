"""The worker thread: order, and an end that waits."""

from __future__ import annotations

import os
import threading

import pytest

from gasang.devices.worker import Worker


def test_does_jobs_in_order_on_a_thread_of_its_own() -> None:
    worker, done = Worker("disk"), []
    for number in range(50):
        worker(lambda number=number: done.append((number, threading.current_thread().name)))  # type: ignore[misc]
    worker.close()
    assert done == [(number, "disk") for number in range(50)]


def test_closing_waits_for_what_was_given() -> None:
    worker, go, done = Worker("disk"), threading.Event(), []
    worker(lambda: done.append(go.wait(10)))
    threading.Timer(0.01, go.set).start()
    worker.close()
    assert done == [True]


def test_an_idle_worker_has_no_thread_and_closes_at_once() -> None:
    before = threading.active_count()
    worker = Worker("disk")
    assert threading.active_count() <= before
    worker.close()
    worker.close()


def test_works_again_after_closing() -> None:
    worker, done = Worker("disk"), []
    for _ in range(2):
        worker(lambda: done.append(1))
        worker.close()
    assert done == [1, 1]


def test_a_held_worker_finishes_its_job_and_begins_no_other() -> None:
    worker, begun, go, done = Worker("disk"), threading.Event(), threading.Event(), []

    def slow() -> None:
        begun.set()
        done.append(go.wait(10))

    worker(slow)
    worker(lambda: done.append(2))
    assert begun.wait(10)
    holder = threading.Thread(target=worker.hold)
    holder.start()
    holder.join(0.02)
    assert holder.is_alive()
    go.set()
    holder.join()
    worker(lambda: done.append(3))
    assert done == [True]
    worker.release()
    worker.close()
    assert done == [True, 2, 3]


def test_closing_does_what_was_held() -> None:
    worker, done = Worker("disk"), []
    worker.hold()
    worker(lambda: done.append(1))
    worker.close()
    assert done == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this host has no fork")
def test_in_a_forked_process_what_waited_is_done_too() -> None:
    worker, done = Worker("disk"), []
    worker(lambda: done.append(1))
    worker.hold()
    worker(lambda: done.append(2))
    before = list(done)
    child = os.fork()
    if child == 0:
        worker.renew()
        worker.close()
        os._exit(len(done))
    assert done == before
    worker.close()
    assert done == [1, 2]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
