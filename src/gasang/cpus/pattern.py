"""Encoding patterns: a line of the specification's tables becomes masks and bit-field recipes.

A pattern lists fields from the most significant bit down, 16 or 32 bits in all:

    0101 00          literal bits
    rd rs1 fs2       a register, 5 bits; rd' rs1' fs2' the three-bit form of compressed instructions (8 is added)
    rm               3 bits
    imm[12|10:5]     these bits of the immediate, highest first, sign-extended from the immediate's highest bit
    uimm[5:0]        the same, zero-extended; the operand is called imm either way
    pred:4           any other field, with its width
    rd!=0 rd!=0,2    a field that must not have these values; `imm!=0` takes no bits and constrains the whole immediate

It knows nothing of any processor beyond these names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

REGISTERS = frozenset({"rd", "rs1", "rs2", "rs3", "fd", "fs1", "fs2", "fs3"})
WIDTHS = {**dict.fromkeys(REGISTERS, 5), "rm": 3}
COMPRESSED_REGISTER_BITS = 3
COMPRESSED_REGISTER_BASE = 8

_FIELD = re.compile(r"(?P<name>[a-z][a-z0-9]*)(?P<prime>')?(?:\[(?P<bits>[0-9:|]+)\])?(?::(?P<width>\d+))?(?:!=(?P<not>\d+(?:,\d+)*))?")


class PatternError(ValueError):
    """A pattern does not follow the grammar above: a mistake of whoever described the instruction."""


@dataclass(frozen=True)
class Segment:
    """`width` bits from bit `low` of the instruction, placed at bit `to` of the operand."""

    low: int
    width: int
    to: int


@dataclass(frozen=True)
class Operand:
    """How an operand's value is gathered from an instruction's bits; one without segments is the constant `add`."""

    name: str
    segments: tuple[Segment, ...]
    signed: bool = False
    add: int = 0

    @cached_property
    def width(self) -> int:
        """Bits of the value before `add`."""
        return max((segment.to + segment.width for segment in self.segments), default=0)

    @cached_property
    def mask(self) -> int:
        """The bits of the instruction that this operand is made of."""
        return sum(((1 << segment.width) - 1) << segment.low for segment in self.segments)

    def extract(self, word: int) -> int:
        """The operand's value in the instruction `word`."""
        value = 0
        for segment in self.segments:
            value |= (word >> segment.low & (1 << segment.width) - 1) << segment.to
        if self.signed and value >> self.width - 1:
            value -= 1 << self.width
        return value + self.add

    def insert(self, value: int) -> int:
        """The instruction bits that say `value`; ValueError if this operand cannot have that value."""
        raw = value - self.add & (1 << self.width) - 1
        bits = sum((raw >> segment.to & (1 << segment.width) - 1) << segment.low for segment in self.segments)
        if self.extract(bits) != value:
            raise ValueError(f"{self.name} cannot be {value}")
        return bits

    def renamed(self, name: str) -> Operand:
        """The same bits under another operand's name."""
        return Operand(name, self.segments, self.signed, self.add)


@dataclass(frozen=True)
class Pattern:
    """A parsed pattern: which words it takes and the operands in them."""

    text: str
    length: int
    """In bytes: 2 or 4."""
    mask: int
    match: int
    operands: dict[str, Operand]
    exclusions: tuple[tuple[int, int], ...]
    """(mask, match) pairs of words that are not this instruction although `mask` and `match` fit."""

    def matches(self, word: int) -> bool:
        """Whether `word` is an instruction of this form."""
        return word & self.mask == self.match and not any(word & mask == match for mask, match in self.exclusions)


class _Fields:
    """What has been read of a pattern, from the most significant bit down."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = sum(self._width(token) for token in text.split())
        self.bits = self.position
        self.mask = self.match = 0
        self.segments: dict[str, list[Segment]] = {}
        self.signed: dict[str, bool] = {}
        self.base: dict[str, int] = {}
        self.forbidden: dict[str, list[int]] = {}

    def _parse(self, token: str) -> re.Match[str]:
        field = _FIELD.fullmatch(token)
        if field is None:
            raise PatternError(f"pattern {self.text!r}: {token!r} is no field")
        return field

    def _width(self, token: str) -> int:
        if not token.strip("01"):
            return len(token)
        field = self._parse(token)
        if field["bits"]:
            return sum(high - low + 1 for high, low in _ranges(field["bits"]))
        if field["width"]:
            return int(field["width"])
        if field["prime"]:
            return COMPRESSED_REGISTER_BITS
        if field["name"] in ("imm", "uimm") and field["not"]:
            return 0
        if field["name"] not in WIDTHS:
            raise PatternError(f"pattern {self.text!r}: the width of {token!r} is not known; write {token}:N")
        return WIDTHS[field["name"]]

    def take(self, token: str) -> None:
        """Read one field."""
        width = self._width(token)
        self.position -= width
        if not token.strip("01"):
            self.mask |= (1 << width) - 1 << self.position
            self.match |= int(token, 2) << self.position
            return
        field = self._parse(token)
        name = "imm" if field["name"] == "uimm" else field["name"]
        self.forbidden.setdefault(name, []).extend(int(value) for value in (field["not"] or "").split(",") if value)
        if width == 0:
            return
        segments = self.segments.setdefault(name, [])
        if segments and not field["bits"]:
            raise PatternError(f"pattern {self.text!r}: {name} stands there twice")
        self.signed[name] = field["name"] == "imm"
        self.base[name] = COMPRESSED_REGISTER_BASE if field["prime"] else 0
        at = self.position + width
        for high, low in _ranges(field["bits"]) if field["bits"] else [(width - 1, 0)]:
            at -= high - low + 1
            segments.append(Segment(at, high - low + 1, low))

    def operands(self) -> dict[str, Operand]:
        """The operands, once every field is read."""
        return {name: Operand(name, tuple(self.segments[name]), self.signed[name], self.base[name]) for name in self.segments}


def _ranges(bits: str) -> list[tuple[int, int]]:
    """`12|10:5` as [(12, 12), (10, 5)]."""
    ranges = []
    for part in bits.split("|"):
        high, _, low = part.partition(":")
        ranges.append((int(high), int(low or high)))
    return ranges


def parse_pattern(text: str) -> Pattern:
    """Read a pattern; PatternError if it does not follow the grammar of this module."""
    fields = _Fields(text)
    if fields.bits not in (16, 32):
        raise PatternError(f"pattern {text!r} has {fields.bits} bits, not 16 or 32")
    for token in text.split():
        fields.take(token)
    operands = fields.operands()
    for operand in operands.values():
        covered = sum((1 << segment.width) - 1 << segment.to for segment in operand.segments)
        if covered.bit_count() != operand.mask.bit_count():
            raise PatternError(f"pattern {text!r}: bits of {operand.name} stand there twice")
    unknown = [name for name, values in fields.forbidden.items() if values and name not in operands]
    if unknown:
        raise PatternError(f"pattern {text!r} constrains {unknown[0]}, which it does not have")
    exclusions = tuple((operands[name].mask, operands[name].insert(value)) for name, values in fields.forbidden.items() for value in values)
    return Pattern(text, fields.bits // 8, fields.mask, fields.match, operands, exclusions)
