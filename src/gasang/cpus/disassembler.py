"""Instruction words as assembler text, made from the syntax in the descriptions.

A `Dialect` says how a processor's operands are written and which shorter spellings (aliases) people expect. The text is a
mnemonic, a tab and the operands, as GNU objdump prints it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from gasang.cpus.instruction_set import Decoded, DescriptionError, InstructionSet, length_of

Operands = Mapping[str, int]
Writer = Callable[[Operands, int], str]
"""Writes one operand, given all of them and the instruction's address; an empty text drops it with its comma."""

REMEMBERED = 1 << 16
"""Words whose text is kept: programs repeat themselves."""

_WORD = re.compile(r"[a-z][a-z0-9]*")


@dataclass(frozen=True)
class Alias:
    """Another spelling of an instruction whose operands have these values; a value may name another operand, to be equal to it."""

    of: str
    when: Mapping[str, int | str]
    mnemonic: str
    syntax: str = ""

    def applies(self, operands: Operands) -> bool:
        """Whether an instruction with these operands is written this way."""
        return all(operands[name] == (operands[value] if isinstance(value, str) else value) for name, value in self.when.items())


@dataclass(frozen=True)
class Dialect:
    """How a processor's instructions are written."""

    writers: Mapping[str, Writer]
    suffix: Callable[[Operands], str] = lambda operands: ""
    """What follows the mnemonic because of operands that are not written otherwise."""
    placed: frozenset[str] = frozenset()
    """Operands whose text depends on the instruction's address."""
    aliases: Sequence[Alias] = ()
    """Pseudo-instructions; without any, compressed forms are named as such."""
    named: Sequence[Alias] = ()
    """Encodings that have a name of their own."""


@dataclass(frozen=True)
class _Placed:
    """Operands that are to be written when the address is known."""

    syntax: str
    operands: Operands


class Disassembler:
    """Writes the instructions of a set in a dialect."""

    def __init__(self, instruction_set: InstructionSet, dialect: Dialect) -> None:
        """Raises DescriptionError if a syntax names an operand that the dialect cannot write."""
        self._set = instruction_set
        self._dialect = dialect
        self._read = lru_cache(REMEMBERED)(self._spell)
        for mnemonic, syntax in [(i.name, i.syntax) for i in instruction_set] + [
            (a.mnemonic, a.syntax) for a in (*dialect.named, *dialect.aliases)
        ]:
            for word in _WORD.findall(syntax):
                if word not in dialect.writers:
                    raise DescriptionError(f"{mnemonic}: no way to write {word!r} of its syntax {syntax!r}")

    def text(self, word: int, pc: int = 0) -> str:
        """The instruction in the lower bits of `word`, at address `pc`; a data directive if it is illegal."""
        mnemonic, operands, rest = self._read(word)
        if rest is not None:
            operands = self._write(rest.syntax, rest.operands, pc)
        return f"{mnemonic}\t{operands}" if operands else mnemonic

    def _spell(self, word: int) -> tuple[str, str, _Placed | None]:
        """Mnemonic and operands of a word; where they depend on the address, what is needed to write them."""
        decoded = self._set.decode(word)
        if decoded is None:
            digits = 2 * length_of(word)
            return f".{length_of(word)}byte", f"{word & (1 << 4 * digits) - 1:#0{digits + 2}x}", None
        mnemonic, syntax = self._spelling(decoded)
        if self._dialect.placed.intersection(_WORD.findall(syntax)):
            return mnemonic, "", _Placed(syntax, decoded.operands)
        return mnemonic, self._write(syntax, decoded.operands, 0), None

    def _spelling(self, decoded: Decoded) -> tuple[str, str]:
        """Mnemonic and syntax of an instruction: an alias if one applies, and then never as a compressed form."""
        own, operands = decoded.instruction, decoded.operands
        base = own.base or own
        for alias in self._aliases.get(own.name, []) + (self._aliases.get(base.name, []) if own.base else []):
            if alias.applies(operands):
                return alias.mnemonic, alias.syntax
        shown = base if self._dialect.aliases else own
        return shown.name + self._dialect.suffix(operands), shown.syntax

    @cached_property
    def _aliases(self) -> dict[str, list[Alias]]:
        """The dialect's aliases by the instruction that they are spellings of, in order."""
        table: dict[str, list[Alias]] = {}
        for alias in (*self._dialect.named, *self._dialect.aliases):
            table.setdefault(alias.of, []).append(alias)
        return table

    def _write(self, syntax: str, operands: Operands, pc: int) -> str:
        parts = [_WORD.sub(lambda word: self._dialect.writers[word[0]](operands, pc), part) for part in syntax.split(", ")]
        return ",".join(part for part in parts if part)
