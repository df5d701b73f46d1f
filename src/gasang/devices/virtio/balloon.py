"""The virtio memory balloon (virtio 1.2, section 5.5): memory the guest does without goes back to the host.

Two ways lead there. The host asks for memory (`set_target`), and the driver takes that much from the guest's programs and names the
pages (inflating). And the driver reports, by itself, what lies free (free page reporting); such memory comes back by being used. Either
way the pages are discarded: they cost the host nothing until the guest touches them.

Queues are numbered as Linux numbers them: one that was not agreed on has no number, and those behind it move up.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from gasang.core.protocols import State
from gasang.devices.state import check_version
from gasang.devices.virtio.device import Link
from gasang.devices.virtio.queue import Chain, QueueError, Virtqueue, gather

STATISTICS_QUEUE, DEFLATE_ON_OOM, PAGE_POISON, REPORTING = 1 << 1, 1 << 2, 1 << 4, 1 << 5
PAGE = 4096
"""What the balloon counts in, whatever the guest's page size (5.5.6)."""
MOST_PAGES = 1 << 14
"""Page numbers taken in one buffer; Linux sends 256."""
MOST_STATISTICS = 64
_CONFIG = struct.Struct("<IIII")
_ACTUAL, _POISON = 4, 12
_STATISTIC = struct.Struct("<HQ")

STATISTICS: Mapping[int, str] = {
    0: "swap_in", 1: "swap_out", 2: "major_faults", 3: "minor_faults", 4: "free", 5: "total", 6: "available", 7: "caches",
    8: "huge_pages_made", 9: "huge_pages_failed",
}  # fmt: skip
"""What the driver tells (5.5.6.4): memory in bytes, the others are counts."""


class VirtioBalloon:
    """The device. Its host side may be called from any thread."""

    device_id: int = 5
    features: int = STATISTICS_QUEUE | DEFLATE_ON_OOM | PAGE_POISON | REPORTING
    queue_sizes: Sequence[int] = (128,) * 4

    def __init__(self) -> None:
        self._link: Link | None = None
        self._roles: Sequence[Callable[[VirtioBalloon, Link, Virtqueue], None]] = ()
        self._target = self._actual = self._poison = 0
        self._waiting: Chain | None = None
        self._waiting_head: int | None = None
        self._statistics: dict[str, int] = {}

    # The host's side.

    @property
    def target(self) -> int:
        """Bytes the guest is asked to do without."""
        return self._target * PAGE

    @property
    def actual(self) -> int:
        """Bytes the guest says it does without."""
        return self._actual * PAGE

    @property
    def is_running(self) -> bool:
        """Whether the guest has a driver for it."""
        return self._link is not None

    @property
    def statistics(self) -> Mapping[str, int]:
        """What the guest told last, by the names of STATISTICS; empty before."""
        return dict(self._statistics)

    def set_target(self, size: int) -> None:
        """Ask the guest to do without `size` bytes; it does as well as it can, and hears of it when it runs."""
        pages = max(0, min(size // PAGE, 0xFFFF_FFFF))
        if pages != self._target:
            self._target = pages
            link = self._link
            if link is not None:
                link.serve(link.config_changed)

    def ask(self) -> None:
        """Have the guest tell its statistics anew, if it tells any; they come some time later."""
        link = self._link
        if link is not None:
            link.serve(lambda: self._give_back(link))

    def _give_back(self, link: Link) -> None:
        chain, self._waiting = self._waiting, None
        if chain is not None:
            queue = link.queues[self._roles.index(VirtioBalloon._told)]
            queue.push(chain, 0)
            link.used(queue)

    # The guest's side.

    def config(self) -> bytes:
        """The structure virtio_balloon_config (5.5.4)."""
        return _CONFIG.pack(self._target, self._actual, 0, self._poison)

    def write_config(self, offset: int, data: bytes) -> None:
        """The driver tells how much it does without, and what it fills free pages with."""
        if (offset, len(data)) == (_ACTUAL, 4):
            self._actual = int.from_bytes(data, "little")
        elif (offset, len(data)) == (_POISON, 4):
            self._poison = int.from_bytes(data, "little")

    def start(self, link: Link) -> None:
        """Give the queues their meanings by what was agreed on, and serve what is waiting already."""
        self._link = link
        self._roles = [role for feature, role in self._ROLES if not feature or link.features & feature]
        head, self._waiting_head = self._waiting_head, None
        if head is not None and VirtioBalloon._told in self._roles:
            self._waiting = link.queues[self._roles.index(VirtioBalloon._told)].chain(head)
        for index in range(len(self._roles)):
            self.notify(index)

    def notify(self, index: int) -> None:
        """Take what a queue has."""
        link = self._link
        if link is not None and index < len(self._roles):
            self._roles[index](self, link, link.queues[index])

    def _inflate(self, link: Link, queue: Virtqueue) -> None:
        while (chain := queue.pop()) is not None:
            for first, count in _runs(_page_numbers(link, chain)):
                link.memory.discard(first * PAGE, count * PAGE)
            queue.push(chain, 0)
        link.used(queue)

    def _deflate(self, link: Link, queue: Virtqueue) -> None:
        """The pages are the guest's again; the host gives them memory when they are touched."""
        while (chain := queue.pop()) is not None:
            queue.push(chain, 0)
        link.used(queue)

    def _told(self, link: Link, queue: Virtqueue) -> None:
        """The driver waits for its buffer, which asks it for the next statistics when it comes back (5.5.6.3)."""
        while (chain := queue.pop()) is not None:
            length = chain.readable_length()
            if length > MOST_STATISTICS * _STATISTIC.size:
                raise QueueError(f"{length} bytes of memory statistics")
            data = gather(link.memory, chain.readable)
            whole = len(data) - len(data) % _STATISTIC.size
            self._statistics = {STATISTICS[tag]: value for tag, value in _STATISTIC.iter_unpack(data[:whole]) if tag in STATISTICS}
            if self._waiting is not None:
                queue.push(self._waiting, 0)
            self._waiting = chain
        link.used(queue)

    def _reported(self, link: Link, queue: Virtqueue) -> None:
        """Free pages. The guest may rely on what it has filled them with, which after a discard is zero (5.5.6.7)."""
        keeps = bool(link.features & PAGE_POISON and self._poison)
        while (chain := queue.pop()) is not None:
            for address, length in chain.writable:
                if not keeps:
                    link.memory.discard(address, length)
            queue.push(chain, 0)
        link.used(queue)

    _ROLES: ClassVar[Sequence[tuple[int, Callable[[VirtioBalloon, Link, Virtqueue], None]]]] = (
        (0, _inflate),
        (0, _deflate),
        (STATISTICS_QUEUE, _told),
        (REPORTING, _reported),
    )

    def reset(self) -> None:
        """Stop: a driver that begins anew has an empty balloon. What the host asks for stays."""
        self._link = self._waiting = self._waiting_head = None
        self._roles = ()
        self._actual = self._poison = 0
        self._statistics = {}

    def save(self) -> State:
        """Target, what the driver told, and which buffer it waits for."""
        head = self._waiting.head if self._waiting is not None else self._waiting_head
        numbers = {"target": self._target, "actual": self._actual, "poison": self._poison, "waiting": head}
        return {"version": 1, "statistics": dict(self._statistics), **numbers}

    def load(self, state: State) -> None:
        """Become the saved one."""
        check_version(state, "virtio-balloon", 1)
        self._target, self._actual, self._poison = state["target"], state["actual"], state["poison"]
        self._waiting, self._waiting_head = None, state["waiting"]
        self._statistics = dict(state["statistics"])


def _page_numbers(link: Link, chain: Chain) -> tuple[int, ...]:
    length = chain.readable_length()
    if length % 4 or length > 4 * MOST_PAGES:
        raise QueueError(f"{length} bytes of page numbers")
    return struct.unpack(f"<{length // 4}I", gather(link.memory, chain.readable))


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """(first, count) of numbers that follow each other, in order."""
    first = count = 0
    for number in sorted(set(numbers)):
        if count and number == first + count:
            count += 1
            continue
        if count:
            yield first, count
        first, count = number, 1
    if count:
        yield first, count
