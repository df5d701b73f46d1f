"""The table of extensions: complete, without contradictions, every instruction with a reference to the specification."""

import importlib
import itertools
import pkgutil
import re

import pytest

import gasang.cpus.riscv64
from gasang.cpus.instruction_set import Extension, Instruction
from gasang.cpus.riscv64.isa import EXTENSIONS, rv64

MORE_SPECIAL = {
    ("c.nop", "c.addi"): "addi x0, x0, 0 has a name of its own",
}
"""Pairs of which the first has all its words from the second, and wins."""


def test_every_file_with_an_extension_is_in_the_table() -> None:
    folder = gasang.cpus.riscv64.__path__
    modules = [importlib.import_module(f"gasang.cpus.riscv64.{module.name}") for module in pkgutil.iter_modules(folder)]
    described = {id(value): value.name for module in modules for value in vars(module).values() if isinstance(value, Extension)}
    assert set(described) == {id(extension) for extension in EXTENSIONS}, described


def overlap(one: Instruction, other: Instruction) -> bool:
    """Whether some word fits both patterns (exclusions apart)."""
    return one.length == other.length and not (one.match ^ other.match) & one.mask & other.mask


def word_of_both(one: Instruction, other: Instruction) -> bool:
    """Whether some word is taken by both patterns."""
    free = ~(one.mask | other.mask) & (1 << 8 * one.length) - 1
    bits = [1 << place for place in range(32) if free >> place & 1]
    base = one.match | other.match
    if len(bits) > 12:
        # Exclusions say that a field is not a number: all ones in every free bit is no such number.
        return one.pattern.matches(base | free) and other.pattern.matches(base | free)
    words = (base | sum(chosen) for count in range(len(bits) + 1) for chosen in itertools.combinations(bits, count))
    return any(one.pattern.matches(word) and other.pattern.matches(word) for word in words)


def test_no_word_is_two_instructions() -> None:
    clashes = {(one.name, other.name) for one, other in itertools.combinations(rv64, 2) if overlap(one, other) and word_of_both(one, other)}
    assert clashes == set(MORE_SPECIAL)
    for special, general in MORE_SPECIAL:
        assert rv64.by_name[special].mask & rv64.by_name[general].mask == rv64.by_name[general].mask
        decoded = rv64.decode(rv64.by_name[special].match)
        assert decoded is not None
        assert decoded.instruction.name == special


@pytest.mark.parametrize("instruction", rv64.instructions, ids=lambda instruction: instruction.name)
def test_an_instruction_is_described_fully(instruction: Instruction) -> None:
    assert re.search(r"\(([a-z]+,? )*\d+(\.\d+)*\b", instruction.doc), "its docstring names no section of the specification"
    assert instruction.doc.isprintable(), "its docstring is one line"
    assert instruction.slots.keys() <= {"rd", "rs1", "rs2", "rs3", "imm"}
    decoded = rv64.decode(instruction.match | ~instruction.mask & (1 << 8 * instruction.length) - 1)
    assert decoded is not None
    assert decoded.instruction is instruction
    assert rv64.numbers[instruction] == decoded.number
    assert rv64[decoded.number] is instruction
    own = {name: decoded.instruction.pattern.operands[name].extract(decoded.word) for name in instruction.pattern.operands}
    assert instruction.encode(**own) == decoded.word
