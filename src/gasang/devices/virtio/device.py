"""The seam between a virtio device and its transport.

A device says what it is (`device_id`, `features`, `queue_sizes`) and has six methods. It meets guest memory only through
the `Link` it is given at `start`, and forgets the link at `reset`. Everything is called with the bus lock held; a backend
that enters a device from another thread does so through `Link.serve`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from gasang.core.protocols import GuestMemory, State
from gasang.devices.lock import Lock
from gasang.devices.virtio.bell import Work
from gasang.devices.virtio.queue import Virtqueue

INDIRECT_DESC = 1 << 28
EVENT_IDX = 1 << 29
VERSION_1 = 1 << 32
TRANSPORT_FEATURES = VERSION_1 | INDIRECT_DESC | EVENT_IDX
"""What every device here offers beside its own bits (virtio 1.2, chapter 6)."""


KINDS = {
    1: "network card", 2: "disk", 3: "console", 4: "entropy source", 5: "memory balloon", 19: "socket device", 26: "shared folder",
}  # fmt: skip
"""What people call a device, by its id (virtio 1.2, chapter 5)."""


class Link(Protocol):
    """What a running device sees of its transport."""

    features: int
    memory: GuestMemory
    queues: Sequence[Virtqueue]
    lock: Lock

    def used(self, queue: Virtqueue) -> None:
        """Buffers were pushed to `queue`: interrupt the guest if it wants to hear of it."""
        ...

    def config_changed(self) -> None:
        """The configuration space shows something new: tell the guest."""
        ...

    def serve(self, job: Callable[[], None]) -> None:
        """Run `job` under the bus lock; what a guest provokes in it fails the device. A device that failed or stopped runs nothing."""
        ...


class VirtioDevice(Protocol):
    """A virtio device without its transport."""

    device_id: int
    features: int
    queue_sizes: Sequence[int]

    def config(self) -> bytes:
        """The configuration space as it is now."""
        ...

    def start(self, link: Link) -> None:
        """The driver is ready (DRIVER_OK)."""
        ...

    def notify(self, index: int) -> None:
        """The driver has made buffers available in queue `index`."""
        ...

    def reset(self) -> None:
        """Stop: the link and all that the guest set up is gone. Backends stay."""
        ...

    def save(self) -> State:
        """The device's own state; the transport saves the queues."""
        ...

    def load(self, state: State) -> None:
        """Become what `save` described. Where the device was running `start` follows, and it goes on where it stopped."""
        ...


@runtime_checkable
class Configurable(Protocol):
    """A device with configuration that the driver may change."""

    def write_config(self, offset: int, data: bytes) -> None:
        """Take a store to the configuration space, anywhere; ignore what is not the driver's to change."""
        ...


@runtime_checkable
class Lendable(Protocol):
    """A device some of whose work compiled code may do, as long as it is not asked anything else."""

    def work(self, index: int) -> Work | None:
        """What there is to do for queue `index` from now on, until it is taken back; None where it is the device's own."""
        ...


@runtime_checkable
class Renewable(Protocol):
    """A device with locks of its own."""

    def renew(self) -> None:
        """In a forked process, whose only thread is the caller's: nobody holds its locks here."""
        ...
