"""A machine's process, from its settings to its exit code; and what can be asked of it meanwhile (VERBS)."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gasang.core.errors import GasangError, StateError, UnsupportedError, UsageError
from gasang.images.control import ControlPort
from gasang.kinds.vm.ballooning import Keeper
from gasang.kinds.vm.base import AnyMachine
from gasang.kinds.vm.card import Card, card_of
from gasang.kinds.vm.process import jail, lessons
from gasang.kinds.vm.process.apart import HostPid, can_be_apart, is_apart, leave_stand_in
from gasang.kinds.vm.process.births import LAYERS, Birth, code_of, coming_layers, live, put_in_place, remove_former_layers, running
from gasang.kinds.vm.process.console import SupervisedConsole
from gasang.kinds.vm.process.control import ControlServer, Handed, Handler, begin
from gasang.kinds.vm.process.figures import figures
from gasang.kinds.vm.process.guest import Guest
from gasang.kinds.vm.process.reach import prepare
from gasang.kinds.vm.process.settings import REQUIRED, MachineSettings
from gasang.kinds.vm.process.streams import opened_streams, take_streams
from gasang.kinds.vm.snapshot.fork import BROKEN, Twin
from gasang.kinds.vm.snapshot.identity import Identity
from gasang.kinds.vm.sockets import GuestSockets
from gasang.storage.chain import Chain

if TYPE_CHECKING:
    from gasang.kinds.vm.process.compiler import JailedCompiler

SNAPSHOTS: Final = "snapshots"
"""The folder of a machine's snapshots, in the machine's."""
SIGNALLED: Final = 128
READY, FAILED = b"+", b"-"
"""What is told to who waits for the start: the process's id comes after the first, a sentence after the second."""
_STREAMS: Final = 3
_SENTENCE: Final = 2048
_OTHER_END: Final = 5.0
"""Seconds for the twin's supervisor to take the exit code."""


class _Twin(NamedTuple):
    """What a twin is given: its folder, the streams of its stand-in, its link to that, and what its guest calls itself.

    And what its network card is, and the tap that it is plugged into, if any. One that `replaces` a machine has its folder, and its disk's
    layers instead of those that are there. Where there is a `lesson`, it tells its parent there what code it needed.
    """

    folder: Path
    streams: list[int]
    link: socket.socket
    name: str
    card: Card | None = None
    tap: int = -1
    replaces: bool = False
    lesson: lessons.Lesson | None = None
    handed: Sequence[Handed] = ()
    volumes: Mapping[str, str] = {}
    """The folders of its volumes, by those of the volumes that they are clones of."""


class MachineProcess:
    """The machine that this process holds. `told` is the descriptor that hears READY or FAILED; `link` leads to its stand-in.

    `lacking` is what its jail has not; `tap` the descriptor that its network card is plugged into. One that `stands` is restored, and waits
    for being forked: the fork is the machine. `own_pid` tells what the host calls the process, and each of its twins.
    """

    def __init__(
        self,
        folder: Path,
        settings: MachineSettings,
        told: int,
        lacking: dict[str, str],
        link: socket.socket | None = None,
        tap: int = -1,
        *,
        stands: bool = False,
        compiler: JailedCompiler | None = None,
        own_pid: Callable[[], int] = os.getpid,
    ) -> None:
        self.folder = folder
        self._lacking = lacking
        self.settings = settings
        self._stands = stands
        self._own_pid = own_pid
        self._compilers = [] if compiler is None else [compiler]
        self.console = SupervisedConsole(tty=settings.tty, reads_input=settings.stdin, link=link, absent=stands)
        self.console.ask_to_end = self._shut_down
        self.control = ControlPort(self._reached)
        self._told = told
        self._tap = tap
        self._vm: AnyMachine | None = None
        self._guest: Guest | None = None
        self._server: ControlServer | None = None
        self._stage = ""
        self._forking = threading.Lock()
        self._lessons = 0
        self._meeting: set[socket.socket] = set()
        """Where twins will say that they live."""

    def run(self) -> int:
        """Live; the exit code. An error is told on standard error, and to who waits for the start."""
        try:
            code = live(Birth(self.folder, self.settings, self.console, self.control, self._meet, self._tap, self._stands, self._compiler))
        except (GasangError, OSError) as error:
            self._tell(FAILED + str(error).encode("utf-8", "backslashreplace")[:2000])
            if self.console.left is None:
                self._warn(str(error))
            code = BROKEN
        finally:
            if self._server is not None:
                self._server.close()
        return code if self.console.left is None else SIGNALLED + self.console.left

    def _compiler(self) -> JailedCompiler | None:
        """The compiler, once: another cannot be started in jail."""
        return self._compilers.pop() if self._compilers else None

    def _meet(self, vm: AnyMachine) -> None:
        if not self.settings.snapshot:
            vm.card = self.settings.network
        self._vm, self._guest = vm, Guest(self.folder, vm, self._warn)
        self._server = ControlServer(self.folder, self._verbs())
        self._tell(READY + str(self._own_pid()).encode())
        if self.settings.snapshot and not self._stands:
            self._guest.identify("", self.settings.network, self._tap)

    def _shut_down(self) -> bool:
        """Have the guest end by itself; False where nobody there hears."""
        return self._guest is not None and self._guest.shut_down(self.settings.stop_signal)

    def _warn(self, sentence: str) -> None:
        self.console.write_error(f"gasang: {sentence}\n".encode("utf-8", "backslashreplace"))

    def _tell(self, word: bytes) -> None:
        if self._told >= 0:
            with suppress(OSError):  # the daemon was killed meanwhile
                os.write(self._told, word)
            os.close(self._told)
            self._told = -1

    def _reached(self, stage: str) -> None:
        self._stage = stage

    @property
    def vm(self) -> AnyMachine:
        """The machine. Raises StateError for one that has ended."""
        if self._vm is None or self._vm.ended.is_set():
            raise StateError("machine", "it has ended", "start it again")
        return self._vm

    # what can be asked

    def _verbs(self) -> dict[str, Handler]:
        return {
            "status": self._status,
            "stats": self._stats,
            "pause": self._pause,
            "resume": self._resume,
            "stop": self._stop,
            "snapshot": self._snapshot,
            "fork": self._fork,
            "memory": self._leave_memory,
            "network": self._change_network,
            "volume": self._change_volume,
            "share": self._share,
            "freeze": self._freeze,
        }

    def _status(self, words: dict[str, Any], handed: list[Handed]) -> dict[str, Any]:
        vm = self.vm
        return {"pid": self._own_pid(), "paused": vm.paused, "stage": self._stage, "memory": vm.machine.ram.size, "cpus": vm.cpus}

    def _stats(self, words: dict[str, Any], handed: list[Handed]) -> dict[str, Any]:
        return {"guest": self.vm.machine.ram.size, "cpus": self.vm.cpus, "jit": self.vm.compiled(), **figures()}

    def _pause(self, words: dict[str, Any], handed: list[Handed]) -> None:
        self.vm.pause()

    def _resume(self, words: dict[str, Any], handed: list[Handed]) -> None:
        self.vm.resume()

    def _stop(self, words: dict[str, Any], handed: list[Handed]) -> None:
        self.console.end()

    def _leave_memory(self, words: dict[str, Any], handed: list[Handed]) -> dict[str, int]:
        """What the guest is left with of its memory; what it does not give its balloon it keeps."""
        size = words.get("bytes")
        if type(size) is not int or size <= 0:
            raise UsageError("memory of a machine", "it is no number of bytes", "send one")
        workers: tuple[object, ...] = tuple(self.vm.workers)
        keepers = [worker for worker in workers if isinstance(worker, Keeper)]
        if not keepers:
            raise UnsupportedError("memory of a machine", "it has no balloon to give memory back with", "stop it, and start it with less")
        keepers[0].ballooning.leave(size)
        return {"bytes": min(size, self.vm.machine.ram.size)}

    def _change_network(self, words: dict[str, Any], handed: list[Handed]) -> None:
        """Have a guest that runs be in other networks, or the same ones with another address."""
        if self._guest is None:
            raise StateError("machine", "it has ended", "start it again")
        self._guest.rename(card_of(words.get("network")))

    def _change_volume(self, words: dict[str, Any], handed: list[Handed]) -> dict[str, Any]:
        """An act on a volume that the machine writes to (storage/volumes/acts.py)."""
        from gasang.kinds.vm.volumes import change

        return change(self.vm, self._guest, self.settings.volumes, words)

    def _share(self, words: dict[str, Any], handed: list[Handed]) -> dict[str, Any]:
        """What clones of the machine's volumes, for a twin, are to begin with."""
        from gasang.kinds.vm.volumes import share

        return share(self.vm)

    def _freeze(self, words: dict[str, Any], handed: list[Handed]) -> dict[str, Any]:
        """What is on the machine's own disk never changes in the layers that this links in a folder; how many they are."""
        folder = words.get("folder")
        if not isinstance(folder, str) or not Path(folder).is_relative_to(self.folder.parent):
            raise UsageError("freeze of a machine's disk", "it needs a folder beside the machine's", "name one")
        if self._guest is not None:
            self._guest.sync()
        with self._forking, self.vm.standing_still(), self.vm.board.bus.lock:
            for chain in _chains(self.vm):
                chain.heir = Path(folder)
                try:
                    chain.flush()
                    chain.split()
                finally:
                    chain.heir = None
        return {}

    def _snapshot(self, words: dict[str, Any], handed: list[Handed]) -> dict[str, Any]:
        name = words.get("name")
        if not isinstance(name, str):
            raise UsageError("snapshot", "it has no name", "give it one")
        begun = time.monotonic()
        made = self.vm.snapshot(self.folder / SNAPSHOTS, name)
        return {"name": name, "digest": made.digest, "seconds": round(time.monotonic() - begun, 4)}

    # twins

    def _fork(self, words: dict[str, Any], handed: list[Handed]) -> dict[str, Any]:
        """A twin whose folder and streams are those of a stand-in, linked by the socket that came along with them."""
        folder, name = words.get("folder"), words.get("hostname", "")
        link, streams, taps = handed[0] if handed else None, handed[1 : 1 + _STREAMS], handed[1 + _STREAMS :]
        if not isinstance(folder, str) or not os.path.isabs(folder) or not isinstance(link, socket.socket) or len(streams) != _STREAMS:
            raise UsageError("fork of a machine", "it needs a folder, a socket, and three streams", "send all of them")
        if not isinstance(name, str):
            raise UsageError("fork of a machine", "the twin's host name is no text", "leave it out")
        card, tap = card_of(words.get("network")), taps[0].fileno() if taps else -1
        if len(taps) != (card is not None):
            raise UsageError("fork of a machine", "a tap and a network go together", "send both, or neither")
        numbers, volumes = [each.fileno() for each in streams], _heirs(words.get("volumes"))
        life = _Twin(Path(folder), numbers, link, name, card, tap, words.get("replaces") is True, handed=handed, volumes=volumes)
        with ExitStack() as cleanup:
            with self._forking:
                ready, telling = socket.socketpair()
                self._meeting.add(ready)
                cleanup.callback(self._met, ready)
                begun = time.monotonic()
                with telling:
                    twin = self._bear(life, telling)
                facts = {"seconds": round(time.monotonic() - begun, 5)}
            begin(partial(_bury, twin))  # nobody else can bury it
            return {**_introduced(twin, ready.recv(_SENTENCE)), **facts}

    def _met(self, ready: socket.socket) -> None:
        self._meeting.discard(ready)
        ready.close()

    def _bear(self, life: _Twin, telling: socket.socket) -> Twin:
        """A twin, which has not begun to live; the first of them give lessons."""
        if self._lessons == lessons.TEACHERS:
            return self._conceive(life, telling)
        lesson = lessons.Lesson(*socket.socketpair())
        try:
            twin = self._conceive(life._replace(lesson=lesson), telling)
        finally:
            lessons.learn(self.vm, lesson)
        self._lessons += 1
        return twin

    def _conceive(self, life: _Twin, telling: socket.socket) -> Twin:
        assert self._server is not None  # it is who asks
        chains = _chains(self.vm)
        layers = coming_layers(life.folder) if life.replaces else life.folder / LAYERS
        for chain in chains:
            chain.heir = layers
        try:
            with _bequeathed(self.vm, life), self._server.receiving:
                return self.vm.fork(lambda vm: self._be_twin(vm, life, telling), Identity.fresh())
        finally:
            for chain in chains:
                chain.heir = None

    def _be_twin(self, vm: AnyMachine, life: _Twin, telling: socket.socket) -> int:
        """The twin's life, in its process and on its only thread."""
        for other in self._meeting:
            other.close()
        self._meeting.clear()
        if self._server is not None:
            self._server.abandon(life.handed)
            self._server = None
        self.folder, self._vm, self._forking, self._lessons = life.folder, vm, threading.Lock(), 0
        if life.volumes:
            own = tuple((life.volumes.get(place, place), target, read_only) for place, target, read_only in self.settings.volumes)
            self.settings = replace(self.settings, volumes=own)
        self._guest = guest = Guest(life.folder, vm, self._warn)
        code = BROKEN
        try:
            self.console.renew(life.streams, life.link.dup())
            life.link.close()
            for stream in life.streams:
                os.close(stream)
            if (guest_sockets := guest.sockets) is not None:
                guest_sockets.renew(life.folder)
            if life.lesson is not None:
                lessons.teach(vm, life.lesson)
            self._settle(vm, life)  # before its guest has work, which would be in the way
            with running(vm, self.console):
                telling.sendall(READY + str(self._own_pid()).encode())
                telling.close()
                guest.identify(life.name, life.card, life.tap)
                if life.replaces:
                    remove_former_layers(life.folder)
            code = code_of(vm, self.control) if self.console.left is None else SIGNALLED + self.console.left
        except (GasangError, OSError) as error:
            sentence = str(error).encode("utf-8", "backslashreplace")[:2000]
            if telling.fileno() >= 0:  # until then the streams may be the parent's
                telling.sendall(FAILED + sentence)
            else:
                self.console.write_error(b"gasang: " + sentence + b"\n")
        finally:
            _put_down(vm, guest.sockets)
            if self._server is not None:
                self._server.close()
        _end(self.console.link, code)
        return code

    def _settle(self, vm: AnyMachine, life: _Twin) -> None:
        """Have in a twin's folder what a machine has there. Raises GasangError, OSError."""
        if life.replaces and (chains := _chains(vm)):
            put_in_place(life.folder)
            for chain in chains:
                chain.folder = life.folder / LAYERS
        jail.note(life.folder, self._lacking)
        self._server = ControlServer(life.folder, self._verbs())


def _heirs(found: object) -> dict[str, str]:
    """The folders of a twin's volumes, as a request has them. Raises UsageError."""
    heirs = found or {}
    if not isinstance(heirs, dict) or not all(isinstance(path, str) and os.path.isabs(path) for path in heirs.values()):
        raise UsageError("fork of a machine", "its volumes are no folders", "send a folder for each volume")
    return heirs


def _bequeathed(vm: AnyMachine, life: _Twin) -> AbstractContextManager[None]:
    if not life.volumes:
        return nullcontext()
    from gasang.kinds.vm.volumes import bequeathed  # most machines have none

    return bequeathed(vm, life.volumes)


def _introduced(twin: Twin, word: bytes) -> dict[str, Any]:
    """What is told of a twin that has said `word`. Raises StateError where it does not live."""
    if not word.startswith(READY):
        cause = word.removeprefix(FAILED).decode("utf-8", "replace") or "it ended at once"
        raise StateError("fork of a machine", f"the twin did not begin to live ({cause})", "look at the machine's log")
    identity = twin.identity
    return {"pid": int(word.removeprefix(READY)), "name": identity.name, "mac": identity.mac.hex(":")}


def _bury(twin: Twin) -> None:
    twin.wait()


def _chains(vm: AnyMachine) -> list[Chain]:
    return [device.block for device in vm.disks() if isinstance(device.block, Chain)]


def _put_down(vm: AnyMachine, sockets: GuestSockets | None) -> None:
    """Have on the disks what the guest of a machine that has ended wrote there, and its sockets gone."""
    if sockets is not None:
        sockets.close()
    for worker in vm.workers:
        worker.close()
    for device in vm.disks():
        device.block.close()


def _end(link: socket.socket | None, code: int) -> None:
    if link is not None:
        link.settimeout(_OTHER_END)
        with suppress(OSError):  # it was killed
            link.sendall(bytes([code & 0xFF]))


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
        compiler = _compiler_of(folder, settings)
        lacking = _confine(folder, settings, namespace)
    except (GasangError, OSError) as error:
        _fail(told, error)
        print(f"gasang: {error}", file=sys.stderr)
        _end(link, BROKEN)
        return BROKEN
    code = MachineProcess(folder, settings, told, lacking, link, tap, compiler=compiler, own_pid=own_pid).run()
    _end(link, code)
    return code


def born(folder: Path, streams: int, link: socket.socket, told: int, tap: int = -1) -> int:
    """The same in a process forked for it, with the streams of a stand-in that is told the exit code, too, over `link`."""
    try:
        settings = MachineSettings.read(folder)
        with opened_streams(streams) as taken:
            take_streams(taken, tty=settings.tty)
        own_pid = HostPid()
        compiler = _compiler_of(folder, settings)
        lacking = _confine(folder, settings)
    except (GasangError, OSError) as error:
        _fail(told, error)
        return BROKEN
    code = MachineProcess(folder, settings, told, lacking, link, tap, compiler=compiler, own_pid=own_pid).run()
    _end(link, code)
    return code


def stood(folder: Path, link: socket.socket, told: int) -> int:
    """A restored machine that waits for being forked, in a process forked for it; it ends with `link`."""
    try:
        settings = MachineSettings.read(folder)
        own_pid = HostPid()
        lacking = _confine(folder, settings)
    except (GasangError, OSError) as error:
        _fail(told, error)
        return BROKEN
    return MachineProcess(folder, settings, told, lacking, link, stands=True, own_pid=own_pid).run()


def _compiler_of(folder: Path, settings: MachineSettings) -> JailedCompiler | None:
    """What compiles the hot code of a machine that is booted, if it is to be compiled. Raises OSError."""
    if settings.jit in ("", "off") or settings.snapshot:
        return None
    from gasang.kinds.vm.process.compiler import JailedCompiler  # a machine that is interpreted has no time for it

    if settings.jit == "check":
        from gasang.accel.soft.jit.check import load_checks

        load_checks()  # in jail it could not be kept
    return JailedCompiler(folder, demands_jail=settings.jail == REQUIRED)


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


def _fail(told: int, error: Exception) -> None:
    with suppress(OSError):  # who asked is gone
        os.write(told, FAILED + str(error).encode("utf-8", "backslashreplace")[:2000])
