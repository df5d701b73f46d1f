"""Where compressed clusters go: one behind the other, across the clusters of the file, each of which is counted for each that lies in it.

docs/interop/qcow2.txt, "Compressed Clusters Descriptor".
"""

from __future__ import annotations

from gasang.storage.images.qcow2 import entries
from gasang.storage.images.qcow2.refcounts import Refcounts

_REGION = 1 << 20
"""Bytes of a file that compressed clusters are packed into, at a time."""


class Packing:
    """The region of an image that is being filled."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._tail = self._end = 0
        self._unused: set[int] = set()
        """Clusters of the region that nothing lies in; they are counted as used."""
        self.given_up: list[int] = []
        """Clusters of former regions that are free after the next flush."""

    def place(self, refcounts: Refcounts, length: int) -> int:
        """Where the next `length` bytes go; the clusters that they lie in are counted. Raises as the refcounts do."""
        if self._full(refcounts, length):
            self._begin(refcounts, length)
        place = self._tail
        for cluster in entries.touched(entries.compressed_entry(place, length, self._bits), self._bits):
            if cluster in self._unused:
                self._unused.remove(cluster)  # it was counted as used when the region was
            else:
                refcounts.add(cluster)
        self._tail += length
        return place

    def _full(self, refcounts: Refcounts, length: int) -> bool:
        """Whether the region has no place for `length` bytes more, at its tail or a cluster later."""
        here = self._tail >> self._bits
        if here not in self._unused and self._tail < self._end and refcounts.get(here) >= refcounts.most:
            self._tail = here + 1 << self._bits
        return self._tail + length > self._end

    def _begin(self, refcounts: Refcounts, length: int) -> None:
        self.given_up.extend(self._unused)
        count = max(_REGION >> self._bits, -(-length >> self._bits))
        first = refcounts.allocate_all(count)
        self._unused = set(range(first, first + count))
        self._tail, self._end = first << self._bits, first + count << self._bits

    def freed(self, refcounts: Refcounts) -> None:
        """Clusters were freed: where all that was packed into this one is gone, it may become another's."""
        if self._end and not refcounts.get(self._tail >> self._bits):
            self._end = 0

    def end(self, refcounts: Refcounts) -> None:
        """Nothing more is packed: what lies at the file's end is given back at once, the rest after a flush."""
        self.given_up.extend(refcounts.give_up_end(self._unused))
        self._unused, self._end = set(), 0
