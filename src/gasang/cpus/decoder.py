"""The native decoder: an instruction set's tree and recipes as tables, and the function that walks them.

`DecoderTables` lays an InstructionSet out in memory once; `decode_into` then turns instruction words into records without
Python. Both follow the same descriptions as InstructionSet.decode, which is the oracle in tests.
"""

from __future__ import annotations

import ctypes
from typing import Any

from gasang.cpus.decode_tree import Leaf, Node
from gasang.cpus.instruction_set import NO_REGISTER, DescriptionError, Instruction, InstructionSet
from gasang.cpus.pattern import Operand
from gasang.cpus.placed_tables import TABLES, PlacedTables
from gasang.cpus.record import Record
from gasang.native import i32, native, ptr, struct, u8, u16, u32, u64

LEAF_FLAG = 0x8000
LEAF_INDEX = 0x7FFF
RECORD_BITS = 32
NEVER = (0, 1)
"""A (mask, match) pair that no word satisfies."""


@struct
class TreeNode:
    """Look at `word >> shift & mask`, take that child of those from `first`."""

    shift: u16
    mask: u16
    first: u32


@struct
class ImmediatePart:
    """Bits of the immediate: `(word & mask) >> right << left`."""

    mask: u32
    right: u16
    left: u16


@struct
class Recipe:
    """One instruction: the words it takes and where its operands are in them. Number 0 takes every word: it is illegal."""

    mask: u32
    match: u32
    excluded_mask: u32
    excluded_match: u32
    excluded_mask_2: u32
    excluded_match_2: u32
    imm_add: i32
    number: u16
    imm_first: u16
    imm_count: u8
    imm_sign: u8
    rd_shift: u8
    rd_mask: u8
    rd_add: u8
    rd_zero: u8
    rs1_shift: u8
    rs1_mask: u8
    rs1_add: u8
    rs2_shift: u8
    rs2_mask: u8
    rs2_add: u8
    rs3_shift: u8
    rs3_mask: u8
    rs3_add: u8
    unused: u8


@struct
class DecodeTables:
    """The tables of one instruction set."""

    nodes: ptr[TreeNode]
    children: ptr[u16]
    recipes: ptr[Recipe]
    parts: ptr[ImmediatePart]


@native
def find_recipe(tables: ptr[DecodeTables], word: u32) -> ptr[Recipe]:
    """The recipe for the instruction in the lower bits of `word`; one with number 0 if it is illegal."""
    child: u16 = 0
    while child < LEAF_FLAG:
        node = tables.nodes + u64(child)
        child = tables.children[node.first + ((word >> u32(node.shift)) & u32(node.mask))]
    recipe = tables.recipes + u64(child & LEAF_INDEX)
    while (
        (word & recipe.mask) != recipe.match
        or (word & recipe.excluded_mask) == recipe.excluded_match
        or (word & recipe.excluded_mask_2) == recipe.excluded_match_2
    ):
        recipe = recipe + 1
    return recipe


@native
def immediate_of(tables: ptr[DecodeTables], recipe: ptr[Recipe], word: u32) -> i32:
    """The immediate of `word`, gathered from its parts and extended."""
    part = tables.parts + u64(recipe.imm_first)
    value: u32 = 0
    for _ in range(u32(recipe.imm_count)):
        value |= ((word & part.mask) >> u32(part.right)) << u32(part.left)
        part = part + 1
    return (i32(value << u32(recipe.imm_sign)) >> i32(recipe.imm_sign)) + recipe.imm_add


@native
def decode_into(tables: ptr[DecodeTables], word: u32, record: ptr[Record]) -> u32:
    """Fill the record's operands from the instruction in the lower bits of `word`; give its number, 0 if it is illegal.

    The handler is left to the caller; operands that the instruction does not need become 0.
    """
    recipe = find_recipe(tables, word)
    rd: u8 = u8((word >> u32(recipe.rd_shift)) & u32(recipe.rd_mask)) + recipe.rd_add
    record.rd = recipe.rd_zero if rd == 0 else rd
    record.rs1 = u8((word >> u32(recipe.rs1_shift)) & u32(recipe.rs1_mask)) + recipe.rs1_add
    record.rs2 = u8((word >> u32(recipe.rs2_shift)) & u32(recipe.rs2_mask)) + recipe.rs2_add
    record.rs3 = u8((word >> u32(recipe.rs3_shift)) & u32(recipe.rs3_mask)) + recipe.rs3_add
    record.imm = immediate_of(tables, recipe, word)
    return u32(recipe.number)


class DecoderTables:
    """An instruction set's tables in memory; `pointer` goes to `decode_into` and lives as long as this object."""

    def __init__(self, instruction_set: InstructionSet) -> None:
        self._set = instruction_set
        self._nodes: list[tuple[int, int, int]] = []
        self._children: list[int] = []
        self._recipes: list[dict[str, int]] = []
        self._parts: list[tuple[int, int, int]] = []
        self._illegal = self._leaf(Leaf(()))
        root = self._place(instruction_set.tree)
        assert root == 0, "the tree's root is no leaf"
        arrays = [
            _array(_layout(TreeNode), self._nodes),
            _array(ctypes.c_uint16, self._children),
            _array(_layout(Recipe), self._recipes),
            _array(_layout(ImmediatePart), self._parts),
        ]
        self._memory = PlacedTables({name: bytes(array) for name, array in zip(TABLES, arrays, strict=True)})
        self.pointer = self._memory.pointer

    @property
    def size(self) -> int:
        """Bytes that the tables take."""
        return sum(map(len, self.content.values()))

    @property
    def content(self) -> dict[str, bytes]:
        """The tables as bytes, for PlacedTables."""
        return self._memory.content

    def _place(self, tree: Node | Leaf) -> int:
        """Lay out a tree; what its parent's `children` says of it."""
        if isinstance(tree, Leaf):
            return self._leaf(tree) if tree.patterns else self._illegal
        index, first = len(self._nodes), len(self._children)
        self._nodes.append((tree.shift, (1 << tree.bits) - 1, first))
        self._children.extend([self._illegal] * len(tree.children))
        for place, child in enumerate(tree.children, first):
            self._children[place] = self._place(child)
        if index >= LEAF_FLAG:
            raise DescriptionError(f"{self._set.name} has too many instructions for its decoder's tables")
        return index

    def _leaf(self, leaf: Leaf) -> int:
        """Entries to try in turn, closed by the one that takes everything."""
        first = len(self._recipes)
        self._recipes.extend(self._recipe(index + 1, self._set.instructions[index]) for index in leaf.patterns)
        self._recipes.append(_exclusions(()))
        return first | LEAF_FLAG

    def _recipe(self, number: int, instruction: Instruction) -> dict[str, int]:
        slots = instruction.slots
        recipe = {"number": number, "mask": instruction.mask, "match": instruction.match}
        recipe |= _exclusions(instruction.pattern.exclusions)
        for slot in slots.keys() - {"imm"}:
            recipe |= _register(slot, slots[slot])
        if "imm" in slots:
            recipe |= self._immediate(slots["imm"])
        return recipe

    def _immediate(self, operand: Operand) -> dict[str, int]:
        parts = []
        for segment in operand.segments:
            mask = ((1 << segment.width) - 1) << segment.low
            # One shift is enough: `mask` has no bits below segment.low.
            shift = segment.to - segment.low
            parts.append((mask, max(-shift, 0), max(shift, 0)))
        first = next((at for at in range(len(self._parts)) if self._parts[at : at + len(parts)] == parts), None)
        if first is None:
            first = len(self._parts)
            self._parts.extend(parts)
        sign = RECORD_BITS - operand.width if operand.signed else 0
        return {"imm_first": first, "imm_count": len(parts), "imm_sign": sign, "imm_add": operand.add}


def _exclusions(pairs: tuple[tuple[int, int], ...]) -> dict[str, int]:
    if len(pairs) > 2:
        raise DescriptionError(f"a pattern excludes {len(pairs)} values; the decoder's tables hold 2")
    (mask, match), (mask_2, match_2) = (*pairs, NEVER, NEVER)[:2]
    return {"excluded_mask": mask, "excluded_match": match, "excluded_mask_2": mask_2, "excluded_match_2": match_2}


def _register(slot: str, operand: Operand) -> dict[str, int]:
    """How a record's register field is made: `(word >> shift & mask) + add`, and for rd what 0 becomes."""
    add = NO_REGISTER if operand.name == "rd" and not operand.segments and operand.add == 0 else operand.add
    fields = {f"{slot}_add": add}
    if operand.segments:
        (segment,) = operand.segments
        fields |= {f"{slot}_shift": segment.low, f"{slot}_mask": (1 << segment.width) - 1}
    if operand.name == "rd":
        fields["rd_zero"] = NO_REGISTER
    return fields


def _array(kind: Any, rows: list[Any]) -> Any:
    """A ctypes array of these rows: numbers, tuples of fields, or fields by name."""
    array = (kind * len(rows))()
    for index, row in enumerate(rows):
        array[index] = kind(**row) if isinstance(row, dict) else kind(*row) if isinstance(row, tuple) else row
    return array


def _layout(kind: Any) -> Any:
    """The ctypes type of a native struct."""
    return kind.ctype
