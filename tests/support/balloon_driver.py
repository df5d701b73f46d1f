"""A guest's balloon driver in a few lines."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from gasang.devices.virtio.balloon import VirtioBalloon
from support.board_parts import FakeMemory
from support.virtio_driver import CONFIG, Driver

INFLATE, DEFLATE, STATISTICS, REPORTING = range(4)


class BalloonDriver:
    """Brings a balloon up and plays the guest's part."""

    def __init__(self, balloon: VirtioBalloon, memory: FakeMemory | None = None, without: int = 1 << 29) -> None:
        self.balloon = balloon
        self.driver = Driver(balloon, memory).start(without=without)

    def asked_for(self) -> int:
        """Bytes the host asks for."""
        return self.driver.read(CONFIG) * 4096

    def has(self, size: int) -> None:
        """Tell how much the balloon holds."""
        self.driver.write(CONFIG + 4, size // 4096)

    def numbers(self, queue: int, pages: Sequence[int]) -> None:
        """Name pages in a queue."""
        assert self.driver.request(queue, [struct.pack(f"<{len(pages)}I", *pages)]) == b""

    def report(self, *segments: tuple[int, int]) -> None:
        """Report free memory: the (address, length) of it."""
        ring = self.driver.rings[REPORTING]
        flags = [2 | (1 if number + 1 < len(segments) else 0) for number in range(len(segments))]
        table = b"".join(
            struct.pack("<QIHH", address, length, flag, number + 1)
            for number, ((address, length), flag) in enumerate(zip(segments, flags, strict=True))
        )
        head = ring.free.pop(0)
        ring.descriptor(head, ring.put(table), len(table), 4, 0)
        ring.taken[head] = [head], []
        ring.publish(head)
        self.driver.notify(REPORTING)

    def tell(self, statistics: Mapping[int, int]) -> None:
        """Give the device a buffer with statistics; it keeps it until it wants others."""
        self.driver.rings[STATISTICS].add([b"".join(struct.pack("<HQ", tag, value) for tag, value in statistics.items())])
        self.driver.notify(STATISTICS)

    def is_asked_for_statistics(self) -> bool:
        """Whether the buffer came back."""
        return bool(self.driver.rings[STATISTICS].take_used())
