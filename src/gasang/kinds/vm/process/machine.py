"""A machine's process, from its settings to its exit code; and what can be asked of it meanwhile (VERBS)."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from gasang.core.errors import GasangError, StateError, UnsupportedError, UsageError
from gasang.host.idling import while_idle
from gasang.images.control import ControlPort
from gasang.kinds.vm.ballooning import Keeper
from gasang.kinds.vm.base import AnyMachine
from gasang.kinds.vm.card import card_of
from gasang.kinds.vm.process import held, jail, lessons
from gasang.kinds.vm.process.births import LAYERS, Birth, code_of, coming_layers, live, put_in_place, remove_former_layers, running
from gasang.kinds.vm.process.console import GONE, SupervisedConsole
from gasang.kinds.vm.process.control import ControlServer, Handed, Handler, begin, overlook_shortage
from gasang.kinds.vm.process.figures import figures
from gasang.kinds.vm.process.guest import Guest
from gasang.kinds.vm.process.settings import MachineSettings
from gasang.kinds.vm.process.told import READY, end, failed
from gasang.kinds.vm.process.twin import TwinLife, bequeathed, bury, chains, heirs, introduced, put_down
from gasang.kinds.vm.snapshot.fork import BROKEN, Twin
from gasang.kinds.vm.snapshot.identity import Identity

if TYPE_CHECKING:
    from gasang.accel.soft.jit.store import RegionStore
    from gasang.kinds.vm.process.compiler import JailedCompiler

SNAPSHOTS: Final = "snapshots"
"""The folder of a machine's snapshots, in the machine's."""
SIGNALLED: Final = 128
_STREAMS: Final = 3
NO_MEMORY_LEFT: Final = "the host has no memory left for it"


class MachineProcess:
    """The machine that this process holds. `told` is the descriptor that hears READY or FAILED; `link` leads to its stand-in.

    `lacking` is what its jail has not; `tap` the descriptor that its network card is plugged into. One that `stands` is restored, and waits
    for being forked: the fork is the machine, and the next one is made ahead, for the folder `heir` (held.py). `own_pid` tells what the
    host calls the process, and each of its twins.
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
        heir: Path | None = None,
        compiler: JailedCompiler | None = None,
        known_code: RegionStore | None = None,
        own_pid: Callable[[], int] = os.getpid,
    ) -> None:
        self.folder = folder
        self._lacking = lacking
        self.settings = settings
        self._stands = stands
        self._heir = heir
        self._held: held.Held | None = None
        self._own_pid = own_pid
        self._compilers = [] if compiler is None else [compiler]
        self._known_code = known_code
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
        overlook_shortage()
        try:
            code = live(self._birth())
        except (GasangError, OSError) as error:
            self._tell(failed(str(error)))
            if self.console.left is None:
                self._warn(str(error))
            code = BROKEN
        finally:
            if self._server is not None:
                self._server.close()
        return code if self.console.left is None else SIGNALLED + self.console.left

    def _birth(self) -> Birth:
        known = self._compiler, self._known_code
        return Birth(self.folder, self.settings, self.console, self.control, self._meet, self._tap, self._stands, *known)

    def _compiler(self) -> JailedCompiler | None:
        """The compiler, once: another cannot be started in jail."""
        return self._compilers.pop() if self._compilers else None

    def _meet(self, vm: AnyMachine) -> None:
        if not self.settings.snapshot:
            vm.card = self.settings.network
        self._vm, self._guest = vm, Guest(self.folder, vm, self._warn)
        self._server = ControlServer(self.folder, self._verbs())
        self._tell(READY + str(self._own_pid()).encode())
        self._hold_later()
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
            for chain in chains(self.vm):
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
        numbers, volumes = [each.fileno() for each in streams], heirs(words.get("volumes"))
        life = TwinLife(Path(folder), numbers, link, name, card, tap, words.get("replaces") is True, handed=handed, volumes=volumes)
        with ExitStack() as cleanup:
            with self._forking:
                ready, telling = socket.socketpair()
                self._meeting.add(ready)
                cleanup.callback(self._met, ready)
                coming: SimpleQueue[Twin | None] = SimpleQueue()
                begin(partial(bury, coming))  # nobody else can bury it, and where there is no room for that there shall be no twin
                begun, twin, released = time.monotonic(), None, None
                try:
                    with telling:
                        released = self._released(life, telling)
                        twin = released or self._bear(life, partial(self._be_twin, telling))
                finally:
                    coming.put(twin)
                facts = {"seconds": round(time.monotonic() - begun, 5), "ahead": released is not None}
            known = introduced(twin, ready)
        if self._stands and life.replaces:
            self._heir = life.folder
        self._hold_later()
        return {**known, **facts}

    def _met(self, ready: socket.socket) -> None:
        self._meeting.discard(ready)
        ready.close()

    def _hold_later(self) -> None:
        """Have the next twin of a machine that stands made ahead; where that fails, the next is forked when it is wanted."""
        if self._heir is not None:
            with suppress(GasangError):
                begin(self._hold)

    def _hold(self) -> None:
        with suppress(GasangError, OSError), self._forking:
            if self._held is None and self._heir is not None:
                ours, theirs = held.link()
                with theirs:
                    life = TwinLife(self._heir, [], theirs, "", replaces=True)
                    twin = self._bear(life, partial(self._be_held, ours))
                self._held = held.Held(twin, ours, str(self._heir))

    def _released(self, life: TwinLife, telling: socket.socket) -> Twin | None:
        """The one that was made ahead for this folder, told to live; None where there is none."""
        waiting, self._held = self._held, None
        if waiting is None:
            return None
        descriptors = [telling.fileno(), life.link.fileno(), *life.streams, *([life.tap] if life.tap >= 0 else [])]
        card = None if life.card is None else asdict(life.card)
        if life.replaces and waiting.folder == str(life.folder) and waiting.release({"hostname": life.name, "network": card}, descriptors):
            return waiting.twin
        waiting.drop()
        ended: SimpleQueue[Twin | None] = SimpleQueue()
        ended.put(waiting.twin)
        begin(partial(bury, ended))
        return None

    def _bear(self, life: TwinLife, body: Callable[[AnyMachine, TwinLife], int]) -> Twin:
        """A twin, which has not begun to live: `body` is its life. The first of them give lessons."""
        if self._lessons == lessons.TEACHERS:
            return self._conceive(life, body)
        lesson = lessons.Lesson(*socket.socketpair())
        try:
            twin = self._conceive(life._replace(lesson=lesson), body)
        finally:
            lessons.learn(self.vm, lesson, recalls=self._lessons == 0)
        self._lessons += 1
        return twin

    def _conceive(self, life: TwinLife, body: Callable[[AnyMachine, TwinLife], int]) -> Twin:
        assert self._server is not None  # it is who asks
        layered = chains(self.vm)
        layers = coming_layers(life.folder) if life.replaces else life.folder / LAYERS
        for chain in layered:
            chain.heir = layers
        try:
            with bequeathed(self.vm, life), self._server.receiving:
                return self.vm.fork(lambda vm: body(vm, life), Identity.fresh())
        finally:
            for chain in layered:
                chain.heir = None

    def _be_held(self, ours: socket.socket, vm: AnyMachine, life: TwinLife) -> int:
        """In a twin that was made ahead: wait until it is wanted, and live."""
        ours.close()
        self._leave_parent()
        guest_sockets = Guest(life.folder, vm, self._warn).sockets
        if guest_sockets is not None:
            guest_sockets.renew(life.folder, early=True)
        self._server = ControlServer(life.folder, self._verbs(), early=True)
        while_idle(vm.copy_ahead)
        come = held.wait(life.link)
        if come is None:
            return GONE
        words, (telling, link, *others) = come
        assert isinstance(telling, socket.socket)
        assert isinstance(link, socket.socket)
        numbers = [each.fileno() for each in others]
        streams, tap = numbers[:_STREAMS], (*numbers[_STREAMS:], -1)[0]
        card, name = card_of(words["network"]), words["hostname"]
        return self._live(telling, vm, life._replace(streams=streams, link=link, name=name, card=card, tap=tap, handed=come[1]))

    def _be_twin(self, telling: socket.socket, vm: AnyMachine, life: TwinLife) -> int:
        """The twin's life, in its process and on its only thread."""
        self._leave_parent(life.handed)
        return self._live(telling, vm, life)

    def _leave_parent(self, own: Sequence[Handed] = ()) -> None:
        """In a twin's process: let go of what its parent has open, but for what is its `own`."""
        for other in self._meeting:
            other.close()
        self._meeting.clear()
        if self._held is not None:
            self._held.drop()
        self._held, self._heir, self._stands = None, None, False
        if self._server is not None:
            self._server.abandon(own)
            self._server = None

    def _live(self, telling: socket.socket, vm: AnyMachine, life: TwinLife) -> int:
        """From its first instruction on."""
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
                guest_sockets.renew(life.folder) if self._server is None else guest_sockets.publish()
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
        except (GasangError, OSError, MemoryError, RuntimeError) as error:  # the last: "can't start new thread"
            sentence = str(error) or NO_MEMORY_LEFT
            if telling.fileno() >= 0:  # until then the streams may be the parent's
                telling.sendall(failed(sentence))
            else:
                self._warn(sentence)
        finally:
            put_down(vm, guest.sockets)
            if self._server is not None:
                self._server.close()
        end(self.console.link, code)
        return code

    def _settle(self, vm: AnyMachine, life: TwinLife) -> None:
        """Have in a twin's folder what a machine has there. Raises GasangError, OSError."""
        if life.replaces and (layered := chains(vm)):
            put_in_place(life.folder)
            for chain in layered:
                chain.folder = life.folder / LAYERS
        if life.replaces or not (life.folder / jail.NAME).exists():  # else it is the parent's, which is true of the twin, too
            jail.note(life.folder, self._lacking)
        if self._server is None:
            self._server = ControlServer(life.folder, self._verbs())
        else:
            self._server.publish()
