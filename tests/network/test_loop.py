"""The thread that waits."""

from __future__ import annotations

import selectors
import socket
import threading
import time

from gasang.network.loop import Deadlines, Loop


def test_deadlines_come_in_order_unless_cancelled() -> None:
    deadlines, done = Deadlines(), []
    numbers = [deadlines.after(seconds, lambda seconds=seconds: done.append(seconds)) for seconds in (3, 1, 2)]  # type: ignore[misc]
    deadlines.cancel(numbers[2])
    now = time.monotonic()
    wait = deadlines.wait(now)
    assert wait is not None
    assert 0.5 < wait <= 1
    deadlines.run(now)
    assert done == []
    deadlines.run(now + 5)
    assert done == [1, 3]
    assert deadlines.wait(now) is None


def test_what_is_cancelled_is_not_waited_for() -> None:
    deadlines = Deadlines()
    deadlines.cancel(deadlines.after(1, list))
    assert deadlines.wait(time.monotonic()) is None


def test_calls_are_done_in_its_thread_in_order() -> None:
    loop, seen = Loop("test"), []
    loop.call(lambda: seen.append(threading.current_thread().name))
    loop.finish(lambda: seen.append("second"))
    assert seen == ["test", "second"]
    loop.close(lambda: seen.append("last"))
    assert seen[-1] == "last"
    assert "test" not in [thread.name for thread in threading.enumerate()]


def test_sockets_and_deadlines_wake_it() -> None:
    loop = Loop("test")
    woken, late = threading.Event(), threading.Event()
    one, other = socket.socketpair()

    def begin() -> None:
        loop.selector.register(one, selectors.EVENT_READ, lambda _events: (one.recv(10), woken.set()))
        loop.deadlines.after(0.02, late.set)

    loop.finish(begin)
    other.send(b"x")
    assert woken.wait(30)
    assert late.wait(30)
    loop.close(lambda: None)
    one.close()
    other.close()


def test_a_socket_closed_by_another_handler_is_not_served() -> None:
    loop, served = Loop("test"), []
    pairs = [socket.socketpair() for _ in range(2)]

    def handler(index: int) -> None:
        served.append(index)
        for one, _ in pairs:
            loop.selector.unregister(one)

    def begin() -> None:
        for _, other in pairs:
            other.send(b"x")
        for index, (one, _) in enumerate(pairs):
            loop.selector.register(one, selectors.EVENT_READ, lambda _events, index=index: handler(index))  # type: ignore[misc]

    loop.finish(begin)
    loop.finish(lambda: None)
    loop.close(lambda: None)
    assert len(served) == 1
    for pair in pairs:
        for end in pair:
            end.close()


def test_one_that_never_started_closes_quietly() -> None:
    Loop("test").close(lambda: None)
