"""The listing that `gasang disasm` prints: a RISC-V ELF file's code with addresses, words and symbols, as GNU objdump -d has it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from gasang.core.errors import BadInputError
from gasang.cpus.elf import Elf, read_elf
from gasang.cpus.instruction_set import SHORT, length_of
from gasang.cpus.riscv64.assembly import disassembler


def disassemble_elf(path: Path, *, aliases: bool = True, numeric: bool = False) -> Iterator[str]:
    """The listing of a file's code, line by line.

    Raises BadInputError if the file is damaged, not for RISC-V or without code, OSError if it cannot be read. Both are raised
    before the first line is given.
    """
    elf = read_elf(path.read_bytes(), str(path))
    areas = _code(elf)
    if not areas:
        raise BadInputError(str(path), "it holds no code", "give an executable, a library or an object file")
    return _listing(elf, areas, aliases, numeric)


def _code(elf: Elf) -> list[tuple[str, int, memoryview]]:
    """(name, address, bytes) of the executable sections, or of the executable segments of a file without sections."""
    sections = [(section.name, section.address, section.data) for section in elf.sections if section.executable and len(section.data)]
    return sections or [(f"segment {part.address:#x}", part.address, part.data) for part in elf.segments if part.executable]


def _listing(elf: Elf, areas: list[tuple[str, int, memoryview]], aliases: bool, numeric: bool) -> Iterator[str]:
    writer = disassembler(aliases, numeric, partial(_place, elf))
    labels = {symbol.address: symbol.name for symbol in elf.symbols}
    for name, start, code in areas:
        yield ""
        yield f"Disassembly of {name}:"
        for offset, word, length in _words(code):
            address = start + offset
            if address in labels:
                yield ""
                yield f"{address:016x} <{labels[address]}>:"
            yield f"{address:8x}:\t{word:0{2 * length}x}".ljust(26) + "\t" + writer.text(word, address)


def _words(code: memoryview) -> Iterator[tuple[int, int, int]]:
    """(offset, word, length) of each instruction; a last one that is cut off is given in halves, an odd byte at the end is left out."""
    offset = 0
    while offset + SHORT <= len(code):
        length = length_of(code[offset])
        if offset + length > len(code):
            length = SHORT
        yield offset, int.from_bytes(code[offset : offset + length], "little"), length
        offset += length


def _place(elf: Elf, address: int) -> str:
    """An address with the symbol it belongs to."""
    symbol = elf.symbol_at(address)
    if symbol is None:
        return f"{address:x}"
    distance = address - symbol.address
    return f"{address:x} <{symbol.name}>" if distance == 0 else f"{address:x} <{symbol.name}+{distance:#x}>"
