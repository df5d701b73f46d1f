"""The worker thread: order, and an end that waits."""

from __future__ import annotations

import threading

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
    assert threading.active_count() == before
    worker.close()
    worker.close()


def test_works_again_after_closing() -> None:
    worker, done = Worker("disk"), []
    for _ in range(2):
        worker(lambda: done.append(1))
        worker.close()
    assert done == [1, 1]
