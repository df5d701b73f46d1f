"""The virtio file system device (virtio 1.2, section 5.11): a tag, and queues of FUSE messages for a server on the host.

Every message goes to `later`, a worker thread: a file may be on a slow disk. So the server is entered by one thread at a time, and no
vCPU waits for it. Guest memory is touched only under the bus lock and only while the message is still the guest's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from gasang.core.protocols import State
from gasang.devices.state import check_version
from gasang.devices.virtio.device import Link
from gasang.devices.virtio.queue import Chain, QueueError, gather, scatter

TAG_SIZE = 36
HEADER_IN, HEADER_OUT = 40, 16
"""Bytes of a message's own headers (struct fuse_in_header, fuse_out_header)."""
LARGEST = (512 << 10) + 8192
"""Bytes of a message: the server's largest transfer, and a page or two of headers and names."""
QUEUE_SIZE = 256
URGENT, REQUESTS = 0, 1

Later = Callable[[Callable[[], None]], None]


class MessageServer(Protocol):
    """Who answers. Entered by one thread at a time; raises nothing whatever the message."""

    def answer(self, message: bytes, room: int) -> bytes | None:
        """The answer, `room` bytes of which may be a body whose length the guest chooses; None where there is to be none."""
        ...

    def reset(self) -> None:
        """Forget the guest."""
        ...

    def renew(self) -> None:
        """In a forked process: share nothing with the parent that either could change for the other."""
        ...

    def save(self) -> State:
        """What the guest knows, as plain data."""
        ...

    def load(self, state: State) -> None:
        """Become what `save` described."""
        ...


@dataclass(eq=False, slots=True)
class _Message:
    """A message that is not answered yet; `era` counts the device's resets."""

    link: Link
    era: int
    queue: int
    chain: Chain


class VirtioFs:
    """A shared folder, which the guest mounts by `tag` (1 to 36 bytes of UTF-8). Without `later` messages are answered at once."""

    device_id: int = 26
    features: int = 0
    queue_sizes: Sequence[int] = (QUEUE_SIZE, QUEUE_SIZE)

    def __init__(self, tag: str, server: MessageServer, later: Later | None = None) -> None:
        self._tag = tag.encode("utf-8")
        if not 1 <= len(self._tag) <= TAG_SIZE:
            raise ValueError(f"a tag has 1 to {TAG_SIZE} bytes: {tag!r}")
        self._server = server
        self._later: Later = later or (lambda job: job())
        self._link: Link | None = None
        self._era = 0
        self._stale = False
        """The guest the server knows is gone; it forgets it before it hears of another."""
        self._in_flight: dict[tuple[int, int], _Message] = {}
        self._unanswered: list[tuple[int, int]] = []

    def config(self) -> bytes:
        """The structure virtio_fs_config: tag and number of request queues."""
        return self._tag.ljust(TAG_SIZE, b"\0") + (1).to_bytes(4, "little")

    def start(self, link: Link) -> None:
        """Take what a restored state left unanswered, and what is waiting already."""
        self._link = link
        if self._stale:
            self._later(self._forget)
        unanswered, self._unanswered = self._unanswered, []
        for index, head in unanswered:
            self._take(link, index, link.queues[index].chain(head))
        for index in (URGENT, REQUESTS):
            self.notify(index)

    def notify(self, index: int) -> None:
        """Take every message that is available."""
        link = self._link
        if link is None:
            return
        queue = link.queues[index]
        while (chain := queue.pop()) is not None:
            self._take(link, index, chain)
        link.used(queue)

    def reset(self) -> None:
        """Forget the guest's messages; the server forgets what it knew of it when there is another."""
        self._link = None
        self._era += 1
        self._stale = True
        self._in_flight.clear()
        self._unanswered.clear()

    def renew(self) -> None:
        """In a forked process: the server is ours alone."""
        self._server.renew()

    def save(self) -> State:
        """What the server knows of the guest, and the messages it has not begun with. No message is being answered meanwhile."""
        heads = sorted({*self._in_flight, *self._unanswered})
        server = None if self._stale else self._server.save()
        return {"version": 1, "unanswered": [list(head) for head in heads], "server": server}

    def load(self, state: State) -> None:
        """Become the saved one."""
        check_version(state, "virtio-fs", 1)
        self._unanswered = [(index, head) for index, head in state["unanswered"]]
        self._stale = state["server"] is None
        if state["server"] is not None:
            self._server.load(state["server"])

    def _forget(self) -> None:
        """On the worker's thread: the server begins anew, unless that has been done or a guest was restored meanwhile."""
        if self._stale:
            self._stale = False
            self._server.reset()

    def _take(self, link: Link, index: int, chain: Chain) -> None:
        length = chain.readable_length()
        if not HEADER_IN <= length <= LARGEST:
            raise QueueError(f"a file system message of {length} bytes")
        if (index, chain.head) in self._in_flight:
            raise QueueError(f"descriptor {chain.head} is in flight already")
        message = _Message(link, self._era, index, chain)
        self._in_flight[index, chain.head] = message
        self._later(partial(self._serve, message))

    def _serve(self, message: _Message) -> None:
        """On the worker's thread, which holds the bus lock only while it touches the guest."""
        data = self._content(message)
        if data is None:
            return
        made = self._server.answer(data, max(0, message.chain.writable_length() - HEADER_OUT))
        with message.link.lock:
            if message.era == self._era:
                del self._in_flight[message.queue, message.chain.head]
                message.link.serve(partial(self._answer, message, made))

    def _content(self, message: _Message) -> bytes | None:
        """What the guest wrote, read when it is its turn: the host has one at a time. None where the guest has given it up."""
        parts: list[bytes] = []
        with message.link.lock:
            if message.era == self._era:
                message.link.serve(lambda: parts.append(gather(message.link.memory, message.chain.readable)))
        return parts[0] if parts else None

    def _answer(self, message: _Message, made: bytes | None) -> None:
        chain, queue = message.chain, message.link.queues[message.queue]
        if made is not None and len(made) > chain.writable_length():
            raise QueueError("a file system message without room for its answer")
        queue.push(chain, scatter(message.link.memory, chain.writable, made) if made is not None else 0)
        message.link.used(queue)
