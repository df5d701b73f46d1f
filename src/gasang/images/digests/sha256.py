"""SHA-256 (FIPS 180-4) natively, of one stream or of eight side by side.

Its rounds depend on each other, so one stream leaves most of a processor's vector units idle. Eight streams have nothing to do with each
other: word for word they fill a vector register. The text of the rounds is written out, since the compiler puts a loop over lanes into
vectors where its body is one straight line.
"""

from __future__ import annotations

from itertools import islice

from gasang.images.digests.state import BLOCK, LANES, MASK, WIDE, Eight, primes
from gasang.native import bswap, cast, load_unaligned, native, native_from_source, ptr, ref, rotr, u8, u32, u64

WORDS = 16
ROUNDS = 64


def _cube_root(number: int) -> int:
    low, high = 0, 1 << (number.bit_length() // 3 + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= number else (low, middle - 1)
    return low


CONSTANTS = [_cube_root(prime << 96) & MASK for prime in islice(primes(), ROUNDS)]
"""The fractional parts of the first primes' cube roots (4.2.2)."""


def _text(head: list[str], indent: str, word: str, state: str) -> str:
    """All rounds (6.2.2) in one line after the other; `word` and `state` say where the block's words and the state are."""
    names = list("abcdefgh")
    lines = [f"{name} = {state.format(index)}" for index, name in enumerate(names)]
    lines += [f"w{index} = {word.format(index)}" for index in range(WORDS)]
    for turn in range(ROUNDS):
        now = f"w{turn % WORDS}"
        if turn >= WORDS:
            near, far, middle = (f"w{(turn + back) % WORDS}" for back in (1, 14, 9))
            small = f"({_sum(near, 7, 18)} ^ ({near} >> 3))", f"({_sum(far, 17, 19)} ^ ({far} >> 10))"
            lines.append(f"{now} = {now} + {small[0]} + {middle} + {small[1]}")
        a, b, c, d, e, f, g, h = names
        lines += [
            f"first = {h} + {_sum(e, 6, 11, 25)} + ({g} ^ ({e} & ({f} ^ {g}))) + {CONSTANTS[turn]} + {now}",
            f"{d} = {d} + first",
            f"{h} = first + {_sum(a, 2, 13, 22)} + (({a} & {b}) | ({c} & ({a} | {b})))",
        ]
        names = [h, a, b, c, d, e, f, g]
    lines += [f"{place} = {place} + {name}" for place, name in zip(map(state.format, range(8)), names, strict=True)]
    return "\n".join([*head, *(indent + line for line in lines), ""])


def _sum(name: str, *turns: int) -> str:
    return "(" + " ^ ".join(f"rotr({name}, u32({turn}))" for turn in turns) + ")"


_block_of_eight = native_from_source(
    _text(
        ["def block_of_eight(eight: ptr[Eight]) -> None:", f"    for lane in range({LANES}):"], " " * 8,
        "eight.words[lane + {0} * 8]", "eight.state[lane + {0} * 8]",
    ),
    {"Eight": Eight, "ptr": ptr, "rotr": rotr, "u32": u32}, inline=True,
)  # fmt: skip
_block_of_one = native_from_source(
    _text(["def block_of_one(words: ptr[u32], state: ptr[u32]) -> None:"], " " * 4, "bswap(load_unaligned(words + {0}))", "state[{0}]"),
    {"bswap": bswap, "load_unaligned": load_unaligned, "ptr": ptr, "rotr": rotr, "u32": u32},
)


@native
def hash_one(state: ptr[u32], data: ptr[u8], blocks: u64) -> None:
    """Take blocks into the state of one stream."""
    for block in range(blocks):
        _block_of_one(cast(ptr[u32], data + block * BLOCK), state)


@native
def hash_eight(eight: ptr[Eight], blocks: u64) -> None:
    """Take as many blocks of each of the eight into its state."""
    take_blocks(eight, blocks)


@native(features=",".join(f"+{name}" for name in WIDE))
def hash_eight_wide(eight: ptr[Eight], blocks: u64) -> None:
    """The same for processors that have the instructions of WIDE: a rotation is one of them, and so are three operations of logic."""
    take_blocks(eight, blocks)


@native(inline=True)
def take_blocks(eight: ptr[Eight], blocks: u64) -> None:
    """States into vectors, the blocks one after the other, and back."""
    for lane in range(LANES):
        state = cast(ptr[u32], eight.states[lane])
        for index in range(8):
            eight.state[index * 8 + lane] = state[index]
    for block in range(blocks):
        gather(eight, block * BLOCK)
        _block_of_eight(eight)
    for lane in range(LANES):
        state = cast(ptr[u32], eight.states[lane])
        for index in range(8):
            state[index] = eight.state[index * 8 + lane]


@native(inline=True)
def gather(eight: ptr[Eight], offset: u64) -> None:
    """The words of the eight blocks at an offset, the same word of all eight together."""
    words = ref(eight.words[0])
    for lane in range(LANES):
        source = cast(ptr[u32], eight.data[lane] + offset)
        for index in range(WORDS):
            words[index * 8 + lane] = bswap(load_unaligned(source + index))
