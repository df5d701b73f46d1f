"""What Python and the native code of SHA-256 both know: sizes, the initial state, and eight streams' blocks and states."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import isqrt

from gasang.native import array, length, struct, u32, u64

LANES = 8
BLOCK = 64
"""Bytes of a block (FIPS 180-4, figure 1)."""
MASK = 0xFFFF_FFFF
WIDE = ("avx512f", "avx512vl", "avx512bw", "avx512dq")
"""Features of a processor, as LLVM and Linux name them both, that double the speed where they are there (measured: 1.4 GB/s, not 0.7)."""


@struct
class Eight:
    """Eight streams: where the blocks of each lie, and where its state; then the same word of all eight side by side."""

    data: array[u64] = length(8)
    states: array[u64] = length(8)
    state: array[u32] = length(64)
    words: array[u32] = length(128)


def primes() -> Iterator[int]:
    """All of them."""
    found: list[int] = []
    number = 2
    while True:
        if all(number % prime for prime in found):
            found.append(number)
            yield number
        number += 1


INITIAL = [isqrt(prime << 64) & MASK for prime in islice(primes(), 8)]
"""The fractional parts of the first primes' square roots (5.3.3)."""
