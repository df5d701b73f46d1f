"""``gasang disasm``: the instructions of an ELF file, from the descriptions that execute them."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple

from gasang.cli.files import file_to_read
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, switch, value
from gasang.cli.output import printable
from gasang.cli.settings import Context
from gasang.core.elf import PF_X, PT_LOAD, RISCV, SHF_EXECINSTR, STT_FUNC, Elf, Symbol, parse_elf
from gasang.core.errors import BadInputError, NotFoundError, UsageError


def _address(text: str, subject: str) -> int:
    """An address in hexadecimal (0x…) or decimal below 2**64."""
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 64:
        raise UsageError(subject, f"{text!r} is no address", "write one such as 0x80000000")
    return number


SECTION = value("section", "NAME", "only this section (default: all that hold code)", plain_text)
SYMBOL = value("symbol", "NAME", "only the code under this symbol", plain_text)
START = value("start", "ADDRESS", "from this address on", _address)
STOP = value("stop", "ADDRESS", "up to this address", _address)
NO_ALIASES = switch("no-aliases", "no pseudo-instructions, and compressed instructions as such")
NUMERIC = switch("numeric", "registers by number: x10 for a0")

SYNTAX = Syntax(
    "Show the instructions of an ELF file.",
    options=(SECTION, SYMBOL, START, STOP, NO_ALIASES, NUMERIC),
    arguments=(Argument("FILE", "a riscv64 ELF file: program, library, object or kernel", completes="files"),),
    examples=(
        Example("gasang disasm hello.elf", "all the code of a file"),
        Example("gasang disasm --symbol main hello.elf", "one function"),
        Example("gasang disasm --start 0x10000 --stop 0x10040 --no-aliases hello.elf", "a range, in the processor's own words"),
    ),
)


class Code(NamedTuple):
    """A run of code: its section's number (0: any) and name, where it is loaded, and its bytes."""

    section: int
    name: str
    address: int
    data: memoryview


def run(parsed: Parsed, context: Context) -> int:
    """Print the instructions."""
    from gasang.cpus.riscv64.assembly import disassemble

    name = parsed.arguments[0]
    elf = parse_elf(file_to_read(name, "file").read_bytes(), name)
    if elf.machine != RISCV:
        raise BadInputError(name, f"it is for {elf.machine_name}", "give an ELF file for riscv64")
    symbols = SymbolTable(elf.symbols)
    start, stop = _range(parsed, symbols, name)
    aliases, numeric = not parsed.get(NO_ALIASES), parsed.get(NUMERIC)

    def spell(word: int, pc: int) -> str:
        return disassemble(word, pc, aliases=aliases, numeric=numeric, symbolize=symbols.name_of)

    chosen = code_of(elf, parsed.get(SECTION))
    if not chosen:
        raise NotFoundError(name, f"it has no section {parsed.get(SECTION) or 'with code'}", "see its sections with readelf -S")
    for code in chosen:
        for line in listing(code, symbols, start, stop, spell):
            sys.stdout.write(f"{line}\n")
    return 0


def _range(parsed: Parsed, symbols: SymbolTable, name: str) -> tuple[int, int]:
    start, stop = parsed.get(START) or 0, parsed.get(STOP)
    wanted = parsed.get(SYMBOL)
    if wanted is not None:
        symbol = symbols.find(wanted)
        if symbol is None:
            raise NotFoundError(name, f"it has no symbol {wanted}", "see its symbols with nm")
        start, end = symbol.address, symbol.address + symbol.size if symbol.size else symbols.following(symbol.address)
        stop = end if stop is None else min(stop, end)
    return start, 1 << 64 if stop is None else stop


def code_of(elf: Elf, section: str | None) -> list[Code]:
    """The sections that hold code, or the one asked for; the segments that are executable in a file without sections."""
    if elf.sections:
        return [
            Code(index, part.name, part.address, part.data)
            for index, part in enumerate(elf.sections)
            if (part.name == section if section is not None else part.flags & SHF_EXECINSTR) and part.data
        ]
    if section is not None:
        return []
    return [Code(0, "code", part.address, part.data) for part in elf.segments if part.kind == PT_LOAD and part.flags & PF_X]


def _is_a_place(symbol: Symbol) -> bool:
    """Whether a symbol names code or data: not a section, a file, or one of the assembler's own marks ($x, .L1)."""
    return symbol.section != 0 and symbol.kind in (0, 1, STT_FUNC) and symbol.name != "" and not symbol.name.startswith(("$", ".L"))


class SymbolTable:
    """Addresses to names and back."""

    def __init__(self, symbols: tuple[Symbol, ...]) -> None:
        # Where one address has several names, that of a function is the last of the sort and so the one found.
        self._symbols = sorted(filter(_is_a_place, symbols), key=lambda symbol: (symbol.address, symbol.kind == STT_FUNC))
        self._addresses = [symbol.address for symbol in self._symbols]
        self._by_place = {(symbol.section, symbol.address): symbol.name for symbol in self._symbols}

    def find(self, name: str) -> Symbol | None:
        """The symbol called `name`."""
        return next((symbol for symbol in self._symbols if symbol.name == name), None)

    def label(self, section: int, address: int) -> str:
        """The name of what starts at `address` of a section (0: any), or ""."""
        if section:
            return self._by_place.get((section, address), "")
        index = bisect_right(self._addresses, address) - 1
        return self._symbols[index].name if index >= 0 and self._addresses[index] == address else ""

    def following(self, address: int) -> int:
        """The first address after `address` that has a name."""
        index = bisect_right(self._addresses, address)
        return self._addresses[index] if index < len(self._addresses) else 1 << 64

    def name_of(self, address: int) -> str:
        """``0x10430 <main+0x8>``, or the address alone."""
        index = bisect_right(self._addresses, address) - 1
        if index < 0:
            return hex(address)
        symbol = self._symbols[index]
        offset = address - symbol.address
        if offset >= max(symbol.size, 1):
            return hex(address)
        return f"{address:#x} <{printable(symbol.name)}{f'+{offset:#x}' if offset else ''}>"


def listing(code: Code, symbols: SymbolTable, start: int, stop: int, spell: Callable[[int, int], str]) -> Iterator[str]:
    """The lines of a run of code between two addresses: a title, labels, and an instruction a line."""
    offset = max(0, start - code.address)
    end = min(len(code.data), stop - code.address)
    if offset >= end:
        return
    yield f"\nsection {printable(code.name)}:"
    while offset + 2 <= end:
        pc = code.address + offset
        size = 4 if code.data[offset] & 3 == 3 else 2
        if label := symbols.label(code.section, pc):
            yield f"\n{pc:016x} <{printable(label)}>:"
        word = int.from_bytes(code.data[offset : offset + size], "little")
        mnemonic, _, operands = (spell(word, pc) if offset + size <= len(code.data) else f".2byte\t{word:#06x}").partition("\t")
        yield f"{pc:8x}:  {word:0{2 * size}x}{'' if size == 4 else '    '}  {mnemonic:<10} {operands}".rstrip()
        offset += size
