"""Level 2 entries: what a number in a qcow2 image's table says of a cluster (docs/interop/qcow2.txt, "Cluster mapping")."""

from __future__ import annotations

import sys
from array import array

COPIED = 1 << 63
"""The cluster is used once: it may be written where it is."""
COMPRESSED = 1 << 62
ZERO = 1
"""A standard entry's cluster reads as zeroes, allocated or not (version 3, not with subclusters)."""
OFFSET = 0x00FFFFFFFFFFFE00
ALL = 0xFFFFFFFF
"""All 32 subclusters are allocated."""


def load(data: bytes) -> array[int]:
    """Big-endian words as numbers."""
    words = array("Q", data)
    if sys.byteorder == "little":
        words.byteswap()
    return words


def dump(words: array[int]) -> bytes:
    """Numbers as big-endian words."""
    if sys.byteorder == "big":
        return words.tobytes()
    copy = words[:]
    copy.byteswap()
    return copy.tobytes()


def run(table: array[int], first: int, end: int, step: int) -> int:
    """How many entries from `first` on, before `end`, are each `step` more than the one before."""
    value = table[first]
    for index in range(first + 1, end):
        value += step
        if table[index] != value:
            return index - first
    return end - first


def compressed_place(entry: int, cluster_bits: int) -> tuple[int, int]:
    """Where a compressed cluster's bytes begin, and how many at most they are."""
    shift = 62 - (cluster_bits - 8)
    offset = entry & ((1 << shift) - 1)
    sectors = (entry & (COMPRESSED - 1)) >> shift
    return offset, (sectors + 1) * 512 - offset % 512


def compressed_entry(offset: int, length: int, cluster_bits: int) -> int:
    """The entry of a compressed cluster whose `length` bytes begin at `offset`."""
    shift = 62 - (cluster_bits - 8)
    sectors = (offset + length - 1) // 512 - offset // 512
    return COMPRESSED | sectors << shift | offset


def touched(entry: int, cluster_bits: int) -> range:
    """The clusters of the file that a compressed cluster has a share in."""
    offset, length = compressed_place(entry, cluster_bits)
    return range(offset >> cluster_bits, ((offset + length - 1) >> cluster_bits) + 1)
