"""What every virtual machine does, whatever its board and whatever runs it: start, stand still, go on, be kept, have twins, end.

It is `Pausable`, `Snapshottable` and `Forkable` (core.protocols). A machine of one architecture adds how it is put together, how its
kernel is entered, and its state as data.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

from gasang.core.errors import StateError, UnsupportedError
from gasang.core.protocols import State
from gasang.devices.bus import Bus
from gasang.devices.serial16550 import Serial16550
from gasang.devices.syscon import PowerRequest
from gasang.devices.virtio.device import Renewable, VirtioDevice
from gasang.host.memory import LazyMemory
from gasang.kinds.vm.parts import Parts

if TYPE_CHECKING:  # a start has no time for what few machines need
    from pathlib import Path

    from gasang.devices.virtio.block import VirtioBlock
    from gasang.kinds.vm.card import Card
    from gasang.kinds.vm.snapshot.fork import Twin
    from gasang.kinds.vm.snapshot.identity import Identity
    from gasang.kinds.vm.snapshot.snapshot import Snapshot


class Ram(Protocol):
    """A machine's RAM: `size` bytes at guest-physical `base`, holes not counted, all of them in one piece of the host's memory."""

    @property
    def base(self) -> int:
        """Where it begins for the guest."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def memory(self) -> LazyMemory:
        """Where it is in this process."""
        ...


class Accelerator(Protocol):
    """What runs the processors."""

    @property
    def ram(self) -> Ram:
        """The machine's."""
        ...

    @property
    def is_begun(self) -> bool:
        """Whether it has been started."""
        ...

    @property
    def paused(self) -> bool:
        """Whether the processors stand still, or are to."""
        ...

    def pause(self) -> None:
        """Have all processors stand between two instructions. Raises StateError, TimedOutError."""
        ...

    def resume(self) -> None:
        """Let them run on. Raises StateError."""
        ...

    def stop(self) -> None:
        """End all processors; from any thread."""
        ...

    def wait(self) -> None:
        """Return when no processor's thread runs any more."""
        ...

    def join(self) -> None:
        """As `wait`. Raises what ended one by accident."""
        ...

    def make_private(self) -> None:
        """Have a fork of this process copy the machine's memory when it is written."""
        ...

    def close(self) -> None:
        """Give everything back; the threads have ended."""
        ...


class Board(Protocol):
    """What the processors are surrounded by."""

    @property
    def bus(self) -> Bus:
        """With the machine's one device lock."""
        ...

    @property
    def serial(self) -> Serial16550:
        """The first serial line."""
        ...

    @property
    def devices(self) -> Sequence[VirtioDevice]:
        """The virtio devices, in the order they were given in."""
        ...

    def document(self) -> dict[str, Any]:
        """What a machine must be made of to take over the state of one on this board; plain values."""
        ...

    def become(self, generation: bytes) -> None:
        """Tell the guest that it is another machine now; the bus lock is held."""
        ...

    def settle(self) -> None:
        """Return when nothing is served beside the processors, which stand still; the bus lock is free."""
        ...

    def renew(self) -> None:
        """In a forked process: make the devices' locks and timers anew."""
        ...

    def reset(self) -> None:
        """Return every device to its power-on state."""
        ...


A = TypeVar("A", bound=Accelerator)
B = TypeVar("B", bound=Board)


class Machine(ABC, Generic[A, B]):
    """Started once, ended once, then closed: use it as a context manager. `power` holds the guest's last power request."""

    architecture: ClassVar[str]

    board: B

    def __init__(self, machine: A, parts: Parts[Any]) -> None:
        self.machine = machine
        self.cpus = parts.cpus
        self.power: PowerRequest | None = None
        self.ended = threading.Event()
        self.last_snapshot: Snapshot | None = None
        """What the next snapshot shares its unchanged parts with."""
        self.last_moment: int | None = None
        """When that one was taken, if what was written since then is noted."""
        self.is_restored = False
        self.card: Card | None = None
        """What its guest was told that it is on its network card; None where that is not known."""
        self._begin: Callable[[], None] = self._boot
        self._warn = parts.warn
        self.workers = tuple(parts.workers)
        """What does the devices' slow work."""
        self._beside: list[threading.Thread] = []
        self._still = threading.RLock()
        """Held by who needs the machine to stand still for a while, so that nobody lets it go on meanwhile."""
        self._closed = False

    # what a machine of one architecture adds

    @abstractmethod
    def _boot(self) -> None:
        """Enter the kernel."""

    @abstractmethod
    def save(self) -> State:
        """All of a paused machine but its memory and disks, as plain data. Raises StateError for one that runs."""

    @abstractmethod
    def load(self, state: State) -> None:
        """Become the saved machine, memory being restored already; `start` lets it go on. Raises BadInputError for no such state."""

    @abstractmethod
    def _revived(self) -> None:
        """In a forked process: have the processors anew, and set what `start` is to do."""

    def moment(self) -> int | None:
        """A name for this moment, in which the machine stands still, that `written_since` will know; None where nothing is noted."""
        return None

    def written_since(self, moment: int | None) -> Iterable[tuple[int, int]] | None:
        """(offset, length) of RAM, as it lies in this process, that may be other than it was then; None: all of it may.

        Without a moment: than it was when the machine was restored, which it may never have been.
        """
        return self.machine.ram.memory.written() if self.is_restored else None

    def compiled(self) -> dict[str, Any] | None:
        """What is compiled of its hot code; None where nothing is."""
        return None

    def note_code(self, known: dict[int, dict[int, int]]) -> None:
        """Add to `known` what its processors have made of the guest's code, by their numbers; nothing where they execute it as it is."""

    def decode_again(self, known: Mapping[int, dict[int, int]]) -> None:
        """Have made of the guest's code what was known of a machine in this one's state, which has not begun."""

    def stand(self) -> None:
        """Begin, and be paused before the first instruction: so a restored machine waits for being forked. Raises UnsupportedError."""
        raise UnsupportedError("machine", "one on these processors does not wait for being forked", "restore it when it is wanted")

    def copy_ahead(self) -> None:
        """In a forked process that has not begun: have copies of the memory that will be written first, instead of a fault for each page.

        Which pages of its RAM those are its snapshot knows, if it was restored from one.
        """
        if self.last_snapshot is not None:
            self.last_snapshot.copy_ahead(self)

    def before_fork(self) -> None:
        """The process is about to fork and the machine stands still: keep what a twin cannot ask of its parent's processors."""

    # what all do alike

    def _device_failed(self, sentence: str) -> None:
        self._warn(f"{sentence}; it stands still until the guest resets it")

    def _power_request(self, request: PowerRequest) -> None:
        self.power = request
        self.machine.stop()
        self.ended.set()

    def start(self) -> None:
        """Begin execution, or go on where the machine was that this one is of."""
        self._begin()

    @property
    def paused(self) -> bool:
        """Whether it stands still, or is about to."""
        return self.machine.paused

    def pause(self) -> None:
        """Return when processors and the devices' workers stand still; from any thread but a processor's, without the bus lock.

        Raises StateError where its state does not allow that, TimedOutError where a processor or a device does not come to a stop.
        """
        with self._still:
            if self.ended.is_set():
                raise StateError("machine", "it has ended", "start another")
            self.machine.pause()
            for worker in self.workers:
                worker.hold()
            self.board.settle()  # behind the workers, whose last jobs may have left something to be served

    def resume(self) -> None:
        """Go on as if nothing had been, behind a snapshot or a fork under way. Raises StateError where it is not paused."""
        with self._still:
            for worker in self.workers:
                worker.release()
            self.machine.resume()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """The machine is paused in the block, one such block at a time, and goes on after it if it ran before. Raises as `pause` does."""
        with self._still:
            if self.paused and not self.ended.is_set():
                yield
                return
            self.pause()
            try:
                yield
            finally:
                self.resume()

    def disks(self) -> list[VirtioBlock]:
        """Its disks, in the order of its devices."""
        from gasang.devices.virtio.block import VirtioBlock

        return [device for device in self.board.devices if isinstance(device, VirtioBlock)]

    def become(self, identity: Identity) -> None:
        """Be another machine than the one this was made of: the guest's kernel hears of it and seeds its random numbers anew."""
        with self.board.bus.lock:
            self.board.become(identity.generation)

    def snapshot(self, store: Path, name: str) -> Snapshot:
        """Keep the present state as `name` in the folder `store`, and go on if it ran. Raises what `snapshot.take.take` raises."""
        from gasang.kinds.vm.snapshot.take import take

        return take(self, store, name)

    def fork(self, body: Callable[[Self], int], identity: Identity | None = None) -> Twin:
        """A running twin in a process of its own, where `body` is called with it. Raises what `snapshot.fork.fork` raises."""
        from gasang.kinds.vm.snapshot.fork import fork

        return fork(self, body, identity)

    def revive(self, identity: Identity) -> None:
        """In a process forked while it stood still, the bus lock held: a machine of its own, which `start` lets go on."""
        self.ended = threading.Event()
        self._still = threading.RLock()
        self._beside = []
        self.last_moment = None
        for device in self.board.devices:
            if isinstance(device, Renewable):
                device.renew()
        self.board.renew()
        for worker in self.workers:
            worker.renew()
        self._revived()
        self.become(identity)

    def beside(self, thread: threading.Thread) -> None:
        """Start a thread that ends soon after `ended` is set; closing waits for it."""
        self._beside.append(thread)
        thread.start()

    def stop(self) -> None:
        """End the machine from outside."""
        self.machine.stop()
        self.ended.set()

    def join(self) -> None:
        """Wait for the machine's end. Raises what ended it by accident."""
        self.machine.join()
        self.ended.set()

    def close(self) -> None:
        """End the machine if it runs and give its memory back; what the devices are connected to stays open. Twice is once."""
        if self._closed:
            return
        self._closed = True
        self.stop()
        self.wait_for_harts()
        for thread in self._beside:
            thread.join()
        self.board.reset()  # the devices let go of guest memory
        self.machine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def wait_for_harts(self) -> None:
        """Return when no processor's thread runs any more, whatever ended them; `stop` was called."""
        self.machine.wait()


AnyMachine = Machine[Any, Any]
"""Of whatever architecture."""
