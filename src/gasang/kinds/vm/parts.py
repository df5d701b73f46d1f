"""What a virtual machine is put together from, whatever its board and whatever runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from gasang.core.protocols import CharacterSink
from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.worker import Holdable
from gasang.kinds.vm.loader import Kernel

if TYPE_CHECKING:
    from gasang.accel.soft.jit.service import Launch
    from gasang.accel.soft.jit.store import RegionStore

K = TypeVar("K", bound=Kernel)


@dataclass
class Parts(Generic[K]):
    """Without a kernel a machine is started by loading a state. `memory` in bytes; `workers` do the devices' slow work."""

    cpus: int
    memory: int
    kernel: K | None
    initrd: bytes
    append: str
    serial: CharacterSink
    virtio: Sequence[VirtioDevice] = field(default_factory=tuple)
    warn: Callable[[str], None] = field(default=lambda sentence: None)
    """Hears what goes wrong in the machine without ending it: a sentence each, from any thread."""
    workers: Sequence[Holdable] = field(default_factory=tuple)
    jit: str = "off"
    """Whether the software processor compiles hot code (accel.soft.machine.JIT)."""
    compiler: Launch | None = None
    """Starts the process that does, where that is not just any process."""
    known_code: RegionStore | None = None
    """What earlier machines have compiled, for one that does not reach the code cache."""
