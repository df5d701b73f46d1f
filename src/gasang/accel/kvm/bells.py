"""Bells: stores of the guest that the kernel counts in an eventfd (KVM_IOEVENTFD), and the thread that answers them.

The vCPU that rings goes on at once, and nothing of ours runs on its thread. Rules:

* The thread waits in the kernel, and answers each bell that has rung since, however often, once. It never reads an eventfd: that one was
  counted up is told once each time it is (EPOLLET), and what it counts is of no interest.
* `hold` returns when all that had rung is answered; the vCPUs stand still by then, so nothing is lost in a paused machine's state.
* A KVM that refuses a bell refuses it for good: whoever wanted it has its stores as exits, and the machine's owner is told once.
"""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gasang.devices.virtio.bell import Loan, Place, Rings, Work
from gasang.host.kvm import ioctls
from gasang.host.kvm import structures as s
from gasang.host.kvm.ioctls import RefusedError, call

if TYPE_CHECKING:
    from gasang.devices.virtio.pump.pump import Pump

ANY_LENGTH: Final = "IOEVENTFD_ANY_LENGTH"
"""KVM_CAP_…: stores of every width count, and the kernel need not look at the instruction."""
_DATAMATCH, _DEASSIGN = 1, 4
_RUNG: Final = select.EPOLLIN | select.EPOLLET

Answer = Callable[[], None]


@dataclass(slots=True)
class _Bell:
    bells: Bells
    place: Place
    answer: Answer
    descriptor: int = -1

    def take_down(self) -> None:
        """As devices.virtio.bell.Bell has it."""
        self.bells.take_down(self)

    def lend(self, rings: Rings, work: Work, interrupt: int) -> Loan | None:
        """As devices.virtio.bell.Bell has it."""
        return self.bells.lend(self, rings, work, interrupt)


class Bells:
    """Those of a machine, which is given by its descriptor (devices.virtio.bell.Bells).

    `broken` gets what an answer raised, the thread's end with it; `refused` hears, once, why the host gives no bells.
    """

    def __init__(self, machine: int, *, any_length: bool, broken: Callable[[BaseException], None]) -> None:
        self.refused: Callable[[str], None] = lambda sentence: None
        self.answered = 0
        """How many were, since it was made."""
        self.pump: Pump | None = None
        """Waits and serves in the interpreter's place, if there is one; set before `start`."""
        self._machine = machine
        self._any_length = any_length
        self._broken = broken
        self._bells: dict[int, _Bell] = {}
        self._works = True
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self._guard = threading.Lock()
        """Held around changes of `_bells`."""
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._held = self._idle = self._ending = False
        self._waker = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poller = select.epoll()
        self._poller.register(self._waker, _RUNG)

    @property
    def places(self) -> tuple[Place, ...]:
        """Where there are bells."""
        with self._guard:
            return tuple(bell.place for bell in self._bells.values())

    # For devices; the bus lock is held.

    def hang(self, place: Place, answer: Answer) -> _Bell | None:
        """Have `answer` called when the guest stores there, by the thread. None where that cannot be."""
        bell = _Bell(self, place, answer)
        return bell if self._works and self._assign(bell) else None

    def lend(self, bell: _Bell, rings: Rings, work: Work, interrupt: int) -> Loan | None:
        """Have the pump serve a bell's queue; None where there is no pump, or all is to stand still."""
        return None if self.pump is None or self._held else self.pump.lend(bell.descriptor, rings, work, interrupt)

    def _assign(self, bell: _Bell) -> bool:
        bell.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            call(self._machine, ioctls.IOEVENTFD, self._record(bell))
        except RefusedError as error:
            os.close(bell.descriptor)
            if error.number in (errno.EEXIST, errno.ENOSPC):  # two devices at one address, or too many: this one's stores are exits
                return False
            self._works = False
            self.refused(f"{error.cause}: disks and network cards of this machine are slower")
            return False
        with self._guard:
            self._bells[bell.descriptor] = bell
            self._poller.register(bell.descriptor, _RUNG)
        return True

    def _record(self, bell: _Bell, flags: int = 0) -> s.Ioeventfd:
        place = bell.place
        if place.match is None:
            return s.Ioeventfd(addr=place.address, len=0 if self._any_length else place.width, fd=bell.descriptor, flags=flags)
        return s.Ioeventfd(addr=place.address, len=place.width, datamatch=place.match, fd=bell.descriptor, flags=flags | _DATAMATCH)

    def take_down(self, bell: _Bell) -> None:
        """Let stores go to the device again. Twice is once."""
        with self._guard:
            if self._bells.get(bell.descriptor) is not bell:
                return
            del self._bells[bell.descriptor]
            self._poller.unregister(bell.descriptor)
            call(self._machine, ioctls.IOEVENTFD, self._record(bell, _DEASSIGN))
            os.close(bell.descriptor)

    # For the machine.

    def start(self) -> None:
        """Begin to answer."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="bells", daemon=True)
            self._thread.start()

    def hold(self) -> None:
        """Return when all that had rung is answered; nothing is until `release`. The vCPUs stand still. Never with the bus lock held."""
        with self._changed:
            self._held = True
            self._wake()
            self._changed.wait_for(lambda: self._idle or self._thread is None or self._ending)

    def release(self) -> None:
        """Go on."""
        with self._changed:
            self._held = self._idle = False
            self._changed.notify_all()

    def end(self) -> None:
        """Have the thread end soon; from any thread."""
        with self._changed:
            self._ending, self._held, self._idle = True, False, False
            self._changed.notify_all()
            if not self._closed:
                self._wake()

    def join(self) -> None:
        """Return when the thread has ended."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def renew(self, machine: int) -> None:
        """In a process forked while this was held: the same bells of another machine, as this process's own. Raises RefusedError."""
        bells = list(self._bells.values())
        self._let_go()
        self._machine = machine
        self._begin()
        if self.pump is not None:
            self.pump.renew()
        for bell in bells:
            bell.descriptor = -1
            self._assign(bell)

    def close(self) -> None:
        """Let go of all; the thread has ended. Twice is once."""
        with self._changed:  # somebody may want the end of what has ended
            if not self._closed:
                self._closed = True
                self._let_go()

    def _let_go(self) -> None:
        self._poller.close()
        for descriptor in (self._waker, *self._bells):
            os.close(descriptor)
        self._bells.clear()

    def _wake(self) -> None:
        os.eventfd_write(self._waker, 1)

    # The thread.

    def _run(self) -> None:
        try:
            while not self._ending:
                self._answer(self._poll(-1))
                if self._held:
                    self._stand()
        except BaseException as error:  # the thread's only handler: whatever it is ends the machine
            self._broken(error)
        finally:
            with self._changed:
                self._ending = True
                self._changed.notify_all()

    def _stand(self) -> None:
        """Answer what had rung, and stand still while that is wanted."""
        while self._held:
            while rung := self._poll(0):
                self._answer(rung)
            with self._changed:
                self._idle = self._held
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self._idle)  # held again since, it answers what has rung meanwhile

    def _poll(self, milliseconds: int) -> list[tuple[int, int]]:
        """What has rung that is to be answered here; wait for it at most so long, for ever where that is less than zero."""
        if self.pump is not None:
            return self.pump.poll(self._poller.fileno(), milliseconds)
        return self._poller.poll(milliseconds if milliseconds < 0 else milliseconds / 1000)

    def _answer(self, rung: list[tuple[int, int]]) -> None:
        for descriptor, _ in rung:
            bell = self._bells.get(descriptor)
            if bell is None:  # the waker, or one that was taken down since
                continue
            self.answered += 1
            bell.answer()
