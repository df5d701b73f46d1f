"""Having what an iterator gives before it is asked for: a thread goes through it, a few items ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class _End:
    """What ended it, if not its last item."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def ahead(items: Iterable[T], most: int) -> Iterator[T]:
    """The same items, at most `most` of them taken before they are asked for; raises what taking them raises.

    Who stops asking ends the thread, after the item that it is at.
    """
    found: SimpleQueue[T | _End] = SimpleQueue()
    room = threading.Semaphore(most)
    stopped = threading.Event()

    def go() -> None:
        end = _End(None)
        try:
            for item in items:
                room.acquire()
                if stopped.is_set():
                    break
                found.put(item)
        except BaseException as error:  # it is the other thread's to raise
            end = _End(error)
        found.put(end)

    thread = threading.Thread(target=go, name="ahead")
    thread.start()
    try:
        while not isinstance(item := found.get(), _End):
            yield item
            room.release()
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        room.release()
        thread.join()
