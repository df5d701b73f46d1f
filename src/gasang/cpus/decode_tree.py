"""Decision trees over instruction words: from many patterns to the few that can match, by looking at one bit range after another.

Each node looks at bits that every pattern below it fixes, so a pattern stands in exactly one leaf. The leaves' patterns are
tried in turn, those with more fixed bits first: of two that take the same word, the more specific one wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

from gasang.cpus.pattern import Pattern

LEAF_SIZE = 2
"""A node with this many patterns or fewer is not worth another look at the word."""
LARGEST_RANGE = 8


@dataclass(frozen=True)
class Leaf:
    """Indices of the patterns to try, in order."""

    patterns: tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """Go on with `children[word >> shift & (1 << bits) - 1]`."""

    shift: int
    bits: int
    children: tuple[Node | Leaf, ...]


def build_tree(patterns: Sequence[Pattern]) -> Node | Leaf:
    """The tree that sorts words by `patterns`; leaves hold indices into them."""
    return _build(patterns, range(len(patterns)))


def find(tree: Node | Leaf, patterns: Sequence[Pattern], word: int) -> int | None:
    """The index of the pattern that takes `word`, or None."""
    while isinstance(tree, Node):
        tree = tree.children[word >> tree.shift & (1 << tree.bits) - 1]
    return next((index for index in tree.patterns if patterns[index].matches(word)), None)


def _build(patterns: Sequence[Pattern], chosen: Sequence[int]) -> Node | Leaf:
    ranges = _distinguishing(patterns, chosen) if len(chosen) > LEAF_SIZE else []
    if not ranges:
        return Leaf(tuple(sorted(chosen, key=lambda index: -patterns[index].mask.bit_count())))
    shift, bits = max(ranges, key=lambda candidate: _spread(patterns, chosen, *candidate))
    children = (
        _build(patterns, [index for index in chosen if patterns[index].match >> shift & (1 << bits) - 1 == value])
        for value in range(1 << bits)
    )
    return Node(shift, bits, tuple(children))


def _distinguishing(patterns: Sequence[Pattern], chosen: Sequence[int]) -> list[tuple[int, int]]:
    """(shift, bits) of the ranges that all `chosen` patterns fix and not all alike."""
    common = reduce(lambda left, right: left & right, (patterns[index].mask for index in chosen))
    differing = reduce(lambda left, right: left | right, (patterns[index].match ^ patterns[chosen[0]].match for index in chosen)) & common
    return list(_runs(common, differing))


def _runs(common: int, differing: int) -> Iterator[tuple[int, int]]:
    """The runs of ones in `common`, each narrowed to where `differing` has bits."""
    position = 0
    while common >> position:
        width = 0
        while common >> position + width & 1:
            width += 1
        inside = differing >> position & (1 << width) - 1
        if inside:
            low = (inside & -inside).bit_length() - 1
            yield position + low, min(inside.bit_length() - low, LARGEST_RANGE)
        position += width or 1


def _spread(patterns: Sequence[Pattern], chosen: Sequence[int], shift: int, bits: int) -> tuple[int, int]:
    """How well a range tells patterns apart: the number of values met, fewer bits being better among equals."""
    return len({patterns[index].match >> shift & (1 << bits) - 1 for index in chosen}), -bits
