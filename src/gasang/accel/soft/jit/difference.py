"""What is told, and kept, of a compiled region that did not do what the interpreter does."""

from __future__ import annotations

import ctypes
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gasang.accel.soft.lookup import instruction_at, physical_address
from gasang.core.errors import MachineDiedError
from gasang.core.paths import data_folder
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.assembly import F_NAMES, X_NAMES, disassemble
from gasang.cpus.riscv64.state import PAGE_SIZE

if TYPE_CHECKING:
    from gasang.accel.soft.hart import Hart
    from gasang.accel.soft.jit.regions import Regions
    from gasang.accel.soft.jit.shelf import Placed

FOLDER = "jit-differences"
SHOWN = 8
"""Differences and instructions in the sentence; all are in the file."""


class RegionDifferenceError(MachineDiedError):
    """A compiled region did not do what the interpreter does."""


def difference_of(regions: Regions, hart: Hart) -> RegionDifferenceError:
    """What the check of a hart found that has left its run loop with exits.DIFFERENCE; all that is known of it is saved."""
    assert regions.checks is not None
    check, shadow = regions.checks.harts[hart.number].state, regions.checks.harts[hart.number].shadow
    number = regions.checks.number_of(int(check.region))
    found = differences(check, shadow, hart)
    region = regions.checks.regions[number]
    code = _code(region, hart, check)
    report = {"region": number, "pc": int(check.began), "instructions": int(check.executed), "differences": found, "code": code}
    saved = _saved({**report, **_compiled_from(region, hart, check), **_state(check, shadow, hart)})
    first = next((index for index, line in enumerate(code) if line.startswith(f"{int(check.began):#x}:")), 0)
    cause = f"it differs from the interpreter after {int(check.executed)} instructions: {', '.join(found[:SHOWN])}"
    listing = "; ".join(code[first : first + SHOWN])
    subject = f"compiled region {number} at {int(check.began):#x} (hart {hart.number})"
    return RegionDifferenceError(subject, f"{cause}. Its code: {listing}", f"{saved}run the machine with --jit off, and report this")


def differences(check: Any, shadow: Any, hart: Hart) -> list[str]:
    """Each thing that is not the same, the region's first."""
    cpu = hart.cpu
    pairs = [("pc", shadow.pc, cpu.pc), ("fs", shadow.fs, cpu.fs), ("fflags", check.flags_after, check.interpreted_flags)]
    pairs += [(X_NAMES[index], shadow.x[index], cpu.x[index]) for index in range(32)]
    pairs += [(F_NAMES[index], shadow.f[index], cpu.f[index]) for index in range(32)]
    pairs.append(("instructions", check.executed, check.interpreted))
    found = [f"{name} {int(left):#x}, interpreted {int(right):#x}" for name, left, right in pairs if left != right]
    if check.ended != exits.LIMIT:
        found.append(f"the interpreter was ended by {_NAMES.get(int(check.ended), check.ended)}")
    if check.stray:
        found.append(f"only the interpreter stored to {_physical(hart, int(check.stray)):#x}")
    for index in range(int(check.copies)):
        page = check.copy[index]
        left, right = ctypes.string_at(page.content, PAGE_SIZE), ctypes.string_at(page.host, PAGE_SIZE)
        places = [place for place in range(0, PAGE_SIZE, 8) if left[place : place + 8] != right[place : place + 8]]
        found += [
            f"memory at {_physical(hart, int(page.host)) + place:#x}: {_word(left, place):#x}, interpreted {_word(right, place):#x}"
            for place in places
        ]
    return found


_NAMES = {exits.TRAP: "a trap", exits.MMIO_READ: "a device", exits.MMIO_WRITE: "a device", exits.SBI: "a firmware call", exits.WAIT: "wfi"}


def _word(content: bytes, place: int) -> int:
    return int.from_bytes(content[place : place + 8], "little")


def _physical(hart: Hart, host: int) -> int:
    ram = hart.machine.ram
    return host - ram.memory.address + ram.base


def _code(region: Placed, hart: Hart, check: Any) -> list[str]:
    """The region's instructions, as far as they can be read now."""
    origin = _origin(region, check)
    lines = []
    for place in region.places:
        pc = origin + place & (1 << 64) - 1
        word = instruction_at(hart.machine.ram, int(hart.cpu.satp), pc)
        if word is not None:
            lines.append(f"{pc:#x}: " + disassemble(word, pc).replace("\t", " "))
    return lines


def _origin(region: Placed, check: Any) -> int:
    """The virtual address of the region's page 0."""
    began = int(check.began)
    entered = next((place for place in region.entries if place % PAGE_SIZE == began % PAGE_SIZE), 0)
    return (began & -PAGE_SIZE) - (entered & -PAGE_SIZE)


def _compiled_from(region: Placed, hart: Hart, check: Any) -> dict[str, Any]:
    """What the region's code can be made of again: its pages by their distance, its instructions, and where it can be begun."""
    ram, origin = hart.machine.ram, _origin(region, check)
    pages: dict[int, str] = {}
    for delta in region.stamps:
        physical = physical_address(ram, int(hart.cpu.satp), origin + delta * PAGE_SIZE & (1 << 64) - 1)
        if physical is not None:
            pages[delta] = ram.read(physical, PAGE_SIZE).hex()
    return {"origin": origin, "entries": region.entries, "places": region.places, "pages": pages}


def _state(check: Any, shadow: Any, hart: Hart) -> dict[str, Any]:
    """Registers before and after, and the pages that the run has loaded from and stored to, as they were."""
    pages = [check.copy[index] for index in range(int(check.copies))]
    return {
        "frm": int(hart.cpu.frm), "fs": int(check.fs), "fflags": int(check.flags),
        "before": {"x": _words(check.x)[:32], "f": _words(check.f)},
        "region_after": {"pc": int(shadow.pc), "x": _words(shadow.x)[:32], "f": _words(shadow.f)},
        "interpreter_after": {"pc": int(hart.cpu.pc), "x": _words(hart.cpu.x)[:32], "f": _words(hart.cpu.f)},
        "memory": {
            f"{int(page.page):#x}": ctypes.string_at(page.before if page.stored else page.content, PAGE_SIZE).hex() for page in pages
        },
    }  # fmt: skip


def _words(values: Any) -> list[str]:
    return [f"{int(value):#x}" for value in values]


def _saved(report: dict[str, Any]) -> str:
    """Write the report; the beginning of a hint that says where. A machine in its jail has no such place, and tells the sentence alone."""
    folder = Path(data_folder(os.environ)) / FOLDER
    path = folder / f"{os.getpid()}-{report['region']}-{report['pc']:x}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1))
    except OSError:
        return ""
    return f"registers and memory are in {path}; "
