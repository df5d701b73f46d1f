"""What every virtio transport is (virtio 1.2, chapters 2 and 3): features agreed on, queues, the device's status, and failing alone.

A transport adds how the guest reaches this, and how an interrupt is made. Nothing a guest does here raises: what breaks a rule sets
DEVICE_NEEDS_RESET (2.1.2), and the device stands still until the guest resets it.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

from gasang.core.protocols import GuestMemory, State
from gasang.devices.lock import Lock
from gasang.devices.state import check_version
from gasang.devices.virtio.bell import Bell, Bells, Loan, Place, Work
from gasang.devices.virtio.device import EVENT_IDX, TRANSPORT_FEATURES, VERSION_1, Configurable, Lendable, VirtioDevice
from gasang.devices.virtio.queue import BATCH, GUEST_FAULTS, Virtqueue

WORD = 0xFFFF_FFFF
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED = 1, 2, 4, 8, 64, 128
USED_BUFFER, CONFIG_CHANGE = 1, 2
BREATH = 0.0005
"""Seconds between two batches of a guest that adds buffers as fast as they are taken: other threads get the bus lock."""


class Transport(ABC):
    """The part of a transport that all have in common. It is also the `Link` the device runs on.

    `on_fault` hears, once a reset, what the guest did wrong, in words that do not name the device.
    """

    name = "virtio transport"
    generations = 1 << 32
    """How many values the configuration's generation has."""

    def __init__(
        self,
        device: VirtioDevice,
        memory: GuestMemory,
        lock: Lock,
        on_fault: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.device = device
        self.memory = memory
        self.lock = lock
        self.queues: Sequence[Virtqueue] = [Virtqueue(memory, size) for size in device.queue_sizes]
        self.features = 0
        self._on_fault = on_fault
        self._offered = device.features | TRANSPORT_FEATURES
        self._status = self._interrupt = self._generation = 0
        self._device_features_word = self._driver_features_word = self._selected = 0
        self._serving = self._followed = False
        self._follower: threading.Thread | None = None
        """The last one; whether there is one at work is what `_followed` says."""
        self.bells: Bells | None = None
        """Who hears the notifications of a running device without stopping the guest, if anybody."""
        self._hung: dict[Place, tuple[int, Bell]] = {}
        """Their queues and they."""
        self._loans: list[tuple[Virtqueue, Work, Loan]] = []
        """Queues that compiled code serves: they are taken back before anything here looks at them or changes what they depend on."""

    # How an interrupt is made: the transport's own.

    @abstractmethod
    def _tell(self, event: int, queue: Virtqueue | None) -> None:
        """Interrupt the guest: USED_BUFFER of a queue, or CONFIG_CHANGE."""

    @abstractmethod
    def _quiet(self) -> None:
        """Take back whatever interrupt there is; the device was reset."""

    @abstractmethod
    def _place(self, index: int) -> Place | None:
        """Where the driver notifies queue `index`; None while it cannot."""

    def _event(self, index: int) -> int | None:
        """The eventfd that interrupts the driver for queue `index` now; below zero: it wants none; None: there is none."""
        return None

    # The device's side: the Link.

    def used(self, queue: Virtqueue) -> None:
        """Interrupt the guest if it wants to hear of the buffers pushed to `queue`."""
        if queue.wants_interrupt():
            self._tell(USED_BUFFER, queue)

    def config_changed(self) -> None:
        """Advance the generation and tell a running driver."""
        self._generation = (self._generation + 1) % self.generations
        if self._status & DRIVER_OK:
            self._tell(CONFIG_CHANGE, None)

    def serve(self, job: Callable[[], None]) -> None:
        """Run `job` under the bus lock unless the device has stopped or failed; a guest's fault in it fails the device."""
        with self.lock:
            if not self._running():
                return
            if self._serving:
                self._attempt(job)
                return
            if self._loans:
                self.take_back()
            for queue in self.queues:
                queue.budget = BATCH
            self._serving = True
            try:
                self._attempt(job)
            finally:
                self._serving = False
            if not self._followed and any(queue.budget < 0 for queue in self.queues):
                self._followed = True
                self._follower = threading.Thread(target=self._follow, args=(self._follower,), name="virtio", daemon=True)
                self._follower.start()
            if self._hung:
                self._lend()

    def _attempt(self, job: Callable[[], None]) -> None:
        try:
            job()
        except GUEST_FAULTS as fault:
            self._fail(str(fault))

    def _follow(self, last: threading.Thread | None) -> None:
        """On a thread of its own: serve what one batch was not enough for, with pauses in which others get the lock."""
        if last is not None:
            last.join()  # so that who waits for this one has waited for all
        while True:
            time.sleep(BREATH)
            with self.lock:
                left = [index for index, queue in enumerate(self.queues) if queue.budget < 0]
                if not left or not self._running():
                    self._followed = False
                    return
                self.serve(partial(self._notify_all, left))

    def _notify_all(self, indices: Sequence[int]) -> None:
        for index in indices:
            self.device.notify(index)

    def settle(self) -> None:
        """Return when nothing is served beside the vCPUs, which stand still. Never with the bus lock held."""
        follower = self._follower
        if follower is not None:
            follower.join()
        with self.lock:
            self.take_back()

    # State.

    def _reset(self) -> None:
        """The state at power-on, which is also what a guest gets by writing zero to the status."""
        self.take_back()
        self.device.reset()
        for queue in self.queues:
            queue.reset()
        self.features = 0
        self._status = self._interrupt = 0
        self._device_features_word = self._driver_features_word = self._selected = 0
        self._quiet()
        self._hang()

    def _save(self) -> State:
        """Registers, queues and the device's own state."""
        self.take_back()
        return {
            "version": 1,
            "device_id": self.device.device_id,
            "features": self.features,
            "status": self._status,
            "interrupt": self._interrupt,
            "generation": self._generation,
            "selectors": [self._device_features_word, self._driver_features_word, self._selected],
            "queues": [queue.save() for queue in self.queues],
            "device": self.device.save(),
        }

    def _load(self, state: State, before: Callable[[], None]) -> None:
        """Become the saved transport and device. Guest memory is restored already; a running device goes on at once.

        `before` is called when all but queues and device is as it was.
        """
        check_version(state, self.name, 1)
        self._reset()
        self.features, self._status = state["features"], state["status"]
        self._interrupt, self._generation = state["interrupt"], state["generation"]
        self._device_features_word, self._driver_features_word, self._selected = state["selectors"]
        before()
        try:
            for queue, saved in zip(self.queues, state["queues"], strict=True):
                queue.load(saved)
            self.device.load(state["device"])
            if self._running():
                self.device.start(self)
        except GUEST_FAULTS as fault:
            self._fail(str(fault))
        self._hang()

    # Registers that all transports have, one function an access.

    def _queue(self) -> Virtqueue | None:
        return self.queues[self._selected] if self._selected < len(self.queues) else None

    def _read_device_features(self) -> int:
        return (self._offered >> (32 * self._device_features_word)) & WORD if self._device_features_word < 2 else 0

    def _write_driver_features(self, value: int) -> None:
        if self._driver_features_word < 2 and not self._status & FEATURES_OK:
            shift = 32 * self._driver_features_word
            self.features = self.features & ~(WORD << shift) | value << shift

    def _read_driver_features(self) -> int:
        return self.features >> 32 * self._driver_features_word & WORD if self._driver_features_word < 2 else 0

    def _write_device_features_word(self, value: int) -> None:
        self._device_features_word = value

    def _write_driver_features_word(self, value: int) -> None:
        self._driver_features_word = value

    def _write_selected(self, value: int) -> None:
        self._selected = value

    def _read_queue_ready(self) -> int:
        queue = self._queue()
        return int(queue.ready) if queue else 0

    def _write_queue_size(self, value: int) -> None:
        queue = self._queue()
        if queue and not queue.ready:
            queue.size = value

    def _enable_queue(self) -> None:
        queue = self._queue()
        if queue is None or queue.ready or self._status & NEEDS_RESET:
            return
        queue.event_index = bool(self.features & EVENT_IDX)
        try:
            queue.enable()
        except GUEST_FAULTS as fault:
            self._fail(str(fault))

    def _notify(self, index: int) -> None:
        if index < len(self.queues):
            self.serve(lambda: self.device.notify(index))

    def _write_status(self, value: int) -> None:
        if not value:
            self._reset()
            return
        value &= ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | FAILED
        new = value & ~self._status
        self._status |= value
        if new & FEATURES_OK and not self._acceptable():
            self._status &= ~FEATURES_OK
        if new & DRIVER_OK:
            self._start()

    def _acceptable(self) -> bool:
        """Whether the driver took only what was offered, and is no legacy driver (6.2)."""
        return not self.features & ~self._offered and bool(self.features & VERSION_1)

    def _start(self) -> None:
        if not self._status & FEATURES_OK:
            self._fail("the driver started without agreed features")
        self._hang()
        self.serve(lambda: self.device.start(self))

    def _write_area(self, name: str, shift: int, value: int) -> None:
        queue = self._queue()
        if queue and not queue.ready:
            address = getattr(queue, name)
            setattr(queue, name, address & ~(WORD << shift) | value << shift)

    def _config(self, offset: int, width: int) -> int:
        """Part of the device's configuration; zero behind it."""
        return int.from_bytes(self.device.config()[offset : offset + width], "little")

    def _write_config(self, offset: int, width: int, value: int) -> None:
        if isinstance(self.device, Configurable):
            self.device.write_config(offset, (value & (1 << 8 * width) - 1).to_bytes(width, "little"))

    # What follows from them.

    def _hang(self) -> None:
        """Have a bell for each queue of a running device, where the driver notifies it now, and no other."""
        if self.bells is None:
            return
        queues = enumerate(self.queues) if self._running() else ()
        places = {place: index for index, queue in queues if queue.ready and (place := self._place(index)) is not None}
        if places.keys() != self._hung.keys():
            self.take_back()
        for place in [place for place in self._hung if place not in places]:
            self._hung.pop(place)[1].take_down()
        for place, index in places.items():
            if place not in self._hung and (bell := self.bells.hang(place, partial(self._notify, index))) is not None:
                self._hung[place] = index, bell

    def _lend(self) -> None:
        """Have compiled code serve what is its to serve; what a batch was not enough for is not."""
        if not isinstance(self.device, Lendable) or not self._running():
            return
        for index, bell in self._hung.values():
            queue, work, event = self.queues[index], self.device.work(index), self._event(index)
            if work is not None and event is not None and queue.ready and queue.budget >= 0:
                loan = bell.lend(queue.rings(), work, event)
                if loan is not None:
                    self._loans.append((queue, work, loan))

    def take_back(self) -> None:
        """Have all queues here again, as they stand now."""
        loans, self._loans = self._loans, []
        for queue, work, loan in loans:
            done = loan.take_back()
            queue.go_on(done.indices)
            if done.interrupted:
                self._interrupt |= USED_BUFFER
            if done.owned:
                work.own()

    def _running(self) -> bool:
        return self._status & (DRIVER_OK | NEEDS_RESET) == DRIVER_OK

    def _fail(self, cause: str) -> None:
        """Stand still until the guest resets the device; tell a driver that listens."""
        if self._status & NEEDS_RESET:
            return
        self._status |= NEEDS_RESET
        for queue in self.queues:
            queue.disable()
        self._on_fault(cause)
        if self._status & DRIVER_OK:
            self._tell(CONFIG_CHANGE, None)
