"""How a machine's process begins: as a program, as a fork that is born with it, as one that stands for the next restore."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gasang.core.errors import GasangError
from gasang.kinds.vm.process import jail
from gasang.kinds.vm.process.apart import HostPid, can_be_apart, is_apart, leave_stand_in
from gasang.kinds.vm.process.machine import MachineProcess
from gasang.kinds.vm.process.reach import prepare
from gasang.kinds.vm.process.settings import REQUIRED, MachineSettings
from gasang.kinds.vm.process.streams import opened_streams, take_streams
from gasang.kinds.vm.process.told import end, fail
from gasang.kinds.vm.snapshot.fork import BROKEN

if TYPE_CHECKING:
    from gasang.accel.soft.jit.store import RegionStore
    from gasang.kinds.vm.process.compiler import JailedCompiler


def main(arguments: list[str]) -> int:
    """The program: ``python -m gasang.kinds.vm.process FOLDER DESCRIPTOR [TAP NAMESPACE]``."""
    folder, (told, tap, namespace) = Path(arguments[0]), [*map(int, arguments[1:]), -1, -1][:3]
    for descriptor in (told, tap, namespace):
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)
    link: socket.socket | None = None
    try:
        settings = MachineSettings.read(folder)
        own_pid = HostPid()
        link = leave_stand_in(namespace)
        compiler, known_code = _compiler_of(folder, settings)
        settings = _near(settings)
        lacking = _confine(folder, settings, namespace)
    except (GasangError, OSError) as error:
        fail(told, error)
        print(f"gasang: {error}", file=sys.stderr)
        end(link, BROKEN)
        return BROKEN
    code = MachineProcess(folder, settings, told, lacking, link, tap, compiler=compiler, known_code=known_code, own_pid=own_pid).run()
    end(link, code)
    return code


def born(folder: Path, streams: int, link: socket.socket, told: int, tap: int = -1) -> int:
    """The same in a process forked for it, with the streams of a stand-in that is told the exit code, too, over `link`."""
    try:
        settings = MachineSettings.read(folder)
        with opened_streams(streams) as taken:
            take_streams(taken, tty=settings.tty)
        own_pid = HostPid()
        compiler, known_code = _compiler_of(folder, settings)
        settings = _near(settings)
        lacking = _confine(folder, settings)
    except (GasangError, OSError) as error:
        fail(told, error)
        return BROKEN
    code = MachineProcess(folder, settings, told, lacking, link, tap, compiler=compiler, known_code=known_code, own_pid=own_pid).run()
    end(link, code)
    return code


def stood(folder: Path, link: socket.socket, told: int, heir: Path | None = None) -> int:
    """A restored machine that waits for being forked, in a process forked for it; it ends with `link`.

    With `heir`, the folder of the machine that its forks replace, the first of them is made at once.
    """
    try:
        settings = MachineSettings.read(folder)
        own_pid = HostPid()
        lacking = _confine(folder, settings)
    except (GasangError, OSError) as error:
        fail(told, error)
        return BROKEN
    return MachineProcess(folder, settings, told, lacking, link, stands=True, heir=heir, own_pid=own_pid).run()


def _near(settings: MachineSettings) -> MachineSettings:
    """With disks behind addresses at sockets of ours: a jail has no network. Raises GasangError, OSError."""
    if not any("address" in more for _, _, *rest in settings.disks for more in rest):
        return settings
    from gasang.kinds.vm.process.far_disks import brought_near  # most machines have none

    return brought_near(settings)


def _compiler_of(folder: Path, settings: MachineSettings) -> tuple[JailedCompiler | None, RegionStore | None]:
    """What compiles the hot code of a machine that is booted, if it is to be compiled, and what earlier ones have left. Raises OSError."""
    if settings.jit in ("", "off") or settings.snapshot:
        return None, None
    from gasang.kinds.vm.process.compiler import JailedCompiler  # a machine that is interpreted has no time for it

    if settings.jit == "check":
        from gasang.accel.soft.jit.check import load_checks

        load_checks()  # in jail it could not be kept
        return JailedCompiler(folder, demands_jail=settings.jail == REQUIRED), None
    from gasang.accel.soft.jit.store import RegionStore, default_folder

    known_code = RegionStore(default_folder(), only_reads=True)  # in jail there is no such folder
    return JailedCompiler(folder, demands_jail=settings.jail == REQUIRED), known_code


def _confine(folder: Path, settings: MachineSettings, network: int = -1) -> dict[str, str]:
    """Make everything ready and go to jail; what does not hold of it. Raises GasangError, OSError."""
    together = can_be_apart() and not is_apart()
    lacking = jail.enter(prepare(folder, settings), folder, serves_folders=bool(settings.folders), network=network)
    if together:
        lacking.setdefault(jail.NAMESPACES, "no process namespace can be made")
    jail.note(folder, lacking)
    if settings.jail == REQUIRED:
        jail.demand(lacking)
    if lacking:
        os.write(2, f"gasang: warning: jail of the machine: {jail.sentence(lacking)}\n".encode("utf-8", "backslashreplace"))
    return lacking
