"""Instruction sets: extensions hold descriptions of instructions, a set assembles extensions and numbers them.

An extension's file builds one `Extension` and describes its instructions with the decorator `instruction`; shorter
encodings of instructions that exist already are added with `compressed`. Nothing is registered anywhere else: a set is
made from an explicit table of extensions. It knows no particular processor.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, TypeVar

from gasang.cpus.decode_tree import Leaf, Node, build_tree, find
from gasang.cpus.pattern import Operand, Pattern, Segment, parse_pattern

NO_REGISTER = 32
"""What the decoder makes of rd = x0: the index of an integer register nobody reads."""

SLOTS = {
    "rd": "rd", "fd": "rd",
    "rs1": "rs1", "fs1": "rs1", "zimm": "rs1",
    "rs2": "rs2", "fs2": "rs2",
    "rs3": "rs3", "fs3": "rs3",
    "imm": "imm", "csr": "imm", "rm": "imm", "instruction": "imm",
}  # fmt: skip
"""Which field of a decoded record carries an operand. No instruction may want two operands of one slot."""

GIVEN = frozenset({"pc", "next_pc"})
"""Operands that come from where the instruction stands, not from its bits."""

F = TypeVar("F", bound=Callable[..., Any])


class Result(Enum):
    """What an instruction's function returns."""

    FALLTHROUGH = "None"
    """Nothing: the next instruction follows."""
    BRANCH = "boolean"
    """Whether the branch to pc + imm is taken."""
    JUMP = "u64"
    """The next pc."""


SHORT, LONG = 2, 4
"""Lengths of an instruction in bytes."""


def length_of(word: int) -> int:
    """The length in bytes of the instruction that starts with `word` (unprivileged specification, 1.5)."""
    return LONG if word & 3 == 3 else SHORT


class DescriptionError(ValueError):
    """A description contradicts itself or another one: a mistake of whoever wrote it."""


@dataclass(frozen=True, eq=False)
class Instruction:
    """One encoding: its bits, its operands, how it is written, and the function that says what it does."""

    name: str
    extension: str
    pattern: Pattern
    syntax: str
    function: Callable[..., Any]
    wants: tuple[str, ...]
    """The function's parameters after `cpu`."""
    result: Result
    doc: str
    operands: dict[str, Operand]
    """Every operand of the instruction (of the base instruction, for a compressed form) by name."""
    base: Instruction | None = None
    """For a compressed form: the instruction it stands for, whose function is executed."""
    bound: Mapping[str, int | str] = field(default_factory=dict)
    """For a compressed form: the base's operands that are constants or another operand of the form."""

    @property
    def mask(self) -> int:
        """The bits of the instruction that are fixed."""
        return self.pattern.mask

    @property
    def match(self) -> int:
        """The values of the fixed bits."""
        return self.pattern.match

    @property
    def length(self) -> int:
        """In bytes: 2 or 4."""
        return self.pattern.length

    @cached_property
    def slots(self) -> dict[str, Operand]:
        """The record's fields that this instruction's function needs, and where their values come from."""
        needed = [name for name in self.wants if name not in GIVEN]
        if self.result is Result.BRANCH and "imm" not in needed:
            needed.append("imm")
        slots: dict[str, Operand] = {}
        for name in needed:
            if SLOTS[name] in slots:
                raise DescriptionError(f"{self.name} wants two operands that are carried in {SLOTS[name]}")
            slots[SLOTS[name]] = self.operands[name]
        return slots

    def encode(self, **operands: int) -> int:
        """The instruction word with these operands (all of `pattern.operands`); ValueError if it has no such form."""
        missing = self.pattern.operands.keys() ^ operands.keys()
        if missing:
            raise ValueError(f"{self.name}: operands {sorted(missing)} are missing or not its own")
        word = self.match
        for name, value in operands.items():
            word |= self.pattern.operands[name].insert(value)
        if not self.pattern.matches(word):
            raise ValueError(f"{self.name} has no form with operands {operands}")
        return word


@dataclass(frozen=True)
class Decoded:
    """An instruction word taken apart."""

    word: int
    number: int
    instruction: Instruction

    @cached_property
    def operands(self) -> dict[str, int]:
        """Every operand's value as the specification has it (rd is 0 for x0)."""
        return {name: operand.extract(self.word) for name, operand in self.instruction.operands.items()}

    @cached_property
    def slots(self) -> dict[str, int]:
        """The fields of a decoded record, rd = x0 turned into NO_REGISTER; fields not needed are absent."""
        return {slot: slot_value(operand, self.word) for slot, operand in self.instruction.slots.items()}


def slot_value(operand: Operand, word: int) -> int:
    """What a decoded record carries for an operand of the instruction `word`."""
    value = operand.extract(word)
    return NO_REGISTER if operand.name == "rd" and value == 0 else value


@dataclass(frozen=True)
class _Compressed:
    """A compressed form before its base instruction is known."""

    name: str
    pattern: Pattern
    function: Callable[..., Any]
    syntax: str | None
    bound: dict[str, int | str]


@dataclass(frozen=True)
class Extension:
    """A named group of instructions: one file each."""

    name: str
    title: str
    described: list[Instruction | _Compressed] = field(default_factory=list)
    system: bool = False
    """Its instructions change translation, privilege or interrupts: the pc is looked up anew after each."""

    def instruction(self, pattern: str, syntax: str = "", *, name: str | None = None) -> Callable[[F], F]:
        """Describe an instruction by its encoding, its operands as they are written, and the decorated function.

        Raises PatternError or DescriptionError if pattern and function do not fit.
        """
        parsed = parse_pattern(pattern)

        def describe(function: F) -> F:
            self.described.append(_describe(self.name, name, parsed, syntax, function))
            return function

        return describe

    def compressed(self, pattern: str, name: str, base: Callable[..., Any], *, syntax: str | None = None, **bound: int | str) -> None:
        """Add a shorter encoding of the instruction whose function is `base`.

        Operands of the base that the pattern does not have are bound to a number or, by name, to another operand of the
        pattern. Without `syntax` it is written like its base, less the operands that are bound.
        """
        self.described.append(_Compressed(name, parse_pattern(pattern), base, syntax, bound))


class InstructionSet:
    """Instructions, numbered from 1 in the order of the extensions' table; number 0 means "no instruction"."""

    def __init__(self, name: str, extensions: Iterable[Extension]) -> None:
        self.name = name
        self.extensions = tuple(extensions)
        self.instructions = tuple(_assemble(self.extensions))
        self.by_name = {instruction.name: instruction for instruction in self.instructions}
        self.numbers = {instruction: number for number, instruction in enumerate(self.instructions, 1)}

    def __getitem__(self, number: int) -> Instruction:
        """The instruction with this number, 1 or more; IndexError if there is none."""
        if number < 1:
            raise IndexError(f"{self.name} has no instruction {number}")
        return self.instructions[number - 1]

    def __len__(self) -> int:
        """How many instructions there are."""
        return len(self.instructions)

    def __iter__(self) -> Iterator[Instruction]:
        """All instructions, by number."""
        return iter(self.instructions)

    @cached_property
    def patterns(self) -> tuple[Pattern, ...]:
        """The pattern of every instruction, in order."""
        return tuple(instruction.pattern for instruction in self.instructions)

    @cached_property
    def tree(self) -> Node | Leaf:
        """Leads from an instruction word to the indices of `patterns` that it can have."""
        return build_tree(self.patterns)

    def decode(self, word: int) -> Decoded | None:
        """Take the instruction in the lower bits of `word` apart; None if it is illegal. Bits above its length do not matter."""
        word &= 0xFFFFFFFF if length_of(word) == LONG else 0xFFFF
        index = find(self.tree, self.patterns, word)
        return None if index is None else Decoded(word, index + 1, self.instructions[index])


def _describe(extension: str, name: str | None, pattern: Pattern, syntax: str, function: Callable[..., Any]) -> Instruction:
    """An instruction from its decorated function."""
    plain = inspect.unwrap(function)
    wants, annotation = _signature(plain)
    mnemonic = name or plain.__name__.rstrip("_").replace("_", ".")
    operands = dict(pattern.operands)
    if "instruction" in wants:
        operands["instruction"] = Operand("instruction", (_whole(pattern),))
    unknown = [want for want in wants if want not in GIVEN and (want not in operands or want not in SLOTS)]
    if unknown:
        raise DescriptionError(f"{mnemonic}: its function wants {unknown[0]}, which the pattern {pattern.text!r} does not have")
    try:
        result = Result(annotation)
    except ValueError:
        raise DescriptionError(f"{mnemonic}: its function returns {annotation}, not None, boolean or u64") from None
    doc = (plain.__doc__ or "").strip()
    if not doc:
        raise DescriptionError(f"{mnemonic}: its function has no docstring")
    return Instruction(mnemonic, extension, pattern, syntax, function, wants, result, doc, operands)


def _signature(plain: Callable[..., Any]) -> tuple[tuple[str, ...], str]:
    """The parameters of a description's function after `cpu`, and the name of the type it returns."""
    code = plain.__code__
    parameters = code.co_varnames[: code.co_argcount]
    annotation = plain.__annotations__.get("return", "nothing that is written down")
    return parameters[1:], annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _whole(pattern: Pattern) -> Segment:
    return Segment(0, pattern.length * 8, 0)


def _assemble(extensions: tuple[Extension, ...]) -> Iterator[Instruction]:
    """All instructions in order, each compressed form tied to its base."""
    described = [entry for extension in extensions for entry in extension.described if isinstance(entry, Instruction)]
    by_function = {instruction.function: instruction for instruction in described}
    names: set[str] = set()
    for extension in extensions:
        for entry in extension.described:
            if entry.name in names:
                raise DescriptionError(f"{entry.name} is described twice")
            names.add(entry.name)
            if isinstance(entry, Instruction):
                yield entry
            elif entry.function in by_function:
                yield _expand(extension.name, entry, by_function[entry.function])
            else:
                raise DescriptionError(f"the base instruction of {entry.name} is in none of the set's extensions")


def _expand(extension: str, form: _Compressed, base: Instruction) -> Instruction:
    """The instruction that a compressed form stands for, its operands taken from the form."""
    operands: dict[str, Operand] = {}
    for name in base.operands:
        source = form.bound.get(name, name)
        if isinstance(source, int):
            operands[name] = Operand(name, (), add=source)
        elif source in form.pattern.operands:
            operands[name] = form.pattern.operands[source].renamed(name)
        else:
            raise DescriptionError(f"{form.name} does not say what {name} of {base.name} is")
    stray = form.bound.keys() - base.operands.keys()
    if stray or "instruction" in base.wants:
        raise DescriptionError(f"{form.name} cannot stand for {base.name}: {', '.join(sorted(stray)) or 'it reads its own bits'}")
    syntax = form.syntax if form.syntax is not None else _without(base.syntax, form.bound)
    return Instruction(
        form.name, extension, form.pattern, syntax, base.function, base.wants, base.result, base.doc, operands, base, form.bound
    )


def _without(syntax: str, bound: Iterable[str]) -> str:
    """A base instruction's syntax less the operands that its compressed form does not write."""
    return ", ".join(part for part in syntax.split(", ") if part and part not in bound)
