"""Many programs in one boot: an initramfs with the executables and a list of what to run, and what the machine's console says of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gasang.images.cpio import archive
from gasang.storage.tree import Entry, Kind
from guests.catalogue import Guest
from guests.running import Outcome, gasang_command, run_guest
from programs.catalogue import Run

MACHINE = Guest("guest_init.c", harts=2, arguments="console=ttyS0 quiet loglevel=0", limit=240)
_BEGIN = re.compile(r"== begin (\S+) (\S+)")
_END = re.compile(r"== end (\S+) (\S+) (\d{1,3})")

Key = tuple[str, str]
"""An executable's name and a program's."""


def initramfs(init: Path, executables: Mapping[str, Path], runs: Iterable[Key]) -> bytes:
    """The archive whose `init` runs the programs listed."""
    listed = "".join(f"{file} {name}\n" for file, name in runs)
    entries = [Entry(path=folder, kind=Kind.DIRECTORY, mode=0o755) for folder in ("dev", "programs")]
    entries.append(Entry(path="dev/console", kind=Kind.CHARACTER, mode=0o600, device=(5, 1)))
    entries.append(Entry(path="programs/list", kind=Kind.FILE, mode=0o644, data=listed.encode()))
    files = {"init": init, **{f"programs/{name}": path for name, path in executables.items()}}
    entries += [Entry(path=name, kind=Kind.FILE, mode=0o755, data=path.read_bytes()) for name, path in files.items()]
    return archive(entries)


def boot(kernel: Path, initrd: Path) -> Outcome:
    """Run the machine to its end, as a user would."""
    return run_guest([*gasang_command(MACHINE, kernel), "--memory", "512M", "--initrd", str(initrd)], MACHINE)


def runs_in(lines: Sequence[str]) -> dict[Key, Run]:
    """What each program did, by what guest_init.c says on the console; one that did not end is not there."""
    runs: dict[Key, Run] = {}
    begun: Key | None = None
    said: list[str] = []
    for line in lines:
        if match := _BEGIN.fullmatch(line):
            begun, said = (match[1], match[2]), []
        elif (match := _END.fullmatch(line)) and begun == (match[1], match[2]):
            runs[begun] = Run(said[:-1] if said and not said[-1] else said, int(match[3]))
            begun = None
        else:
            said.append(line)
    return runs


def difference(ours: Run, theirs: Run) -> str:
    """The first line that differs, or the exit codes; empty if the runs are equal."""
    for number in range(max(len(ours.lines), len(theirs.lines))):
        mine, other = (run.lines[number] if number < len(run.lines) else "(no line)" for run in (ours, theirs))
        if mine != other:
            return f"line {number + 1}: {mine}\nunder QEMU: {other}"
    return "" if ours.code == theirs.code else f"exit code {ours.code}, under QEMU {theirs.code}"
