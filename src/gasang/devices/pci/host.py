"""A PCI host bridge with one bus of functions, and its three faces on a machine's buses.

* `Ecam`: configuration space in memory, 4 KiB a function (PCI Express 4.0, section 7.2.2).
* `ConfigPorts`: the same through an address and a data port, as PCs have had it since 1992 (PCI 3.0, section 3.2.2.3.2).
* `Window`: the addresses that base address registers may be given.

Where no function is, all ones are read and stores are lost, as on a real bus.
"""

from __future__ import annotations

from typing import Final, Protocol

from gasang.core.protocols import State
from gasang.devices.pci.config import SIZE, ConfigSpace, Identity
from gasang.devices.state import check_version

SLOTS: Final = 32
BUS_SIZE: Final = SLOTS * 8 * SIZE
BRIDGE: Final = Identity(vendor=0x1B36, device=0x0008, kind=0x060000)
"""The generic host bridge that virtual machines have (docs/specs/pci-ids of QEMU lists the vendor's numbers)."""
_PORT_ENABLE: Final = 1 << 31
_ADDRESS, _DATA = 0, 4


class PciFunction(Protocol):
    """A function of a device: its configuration space, and what is behind its window."""

    config: ConfigSpace

    def read_config(self, offset: int, width: int) -> int:
        """What the guest reads from configuration space."""
        ...

    def write_config(self, offset: int, width: int, value: int) -> None:
        """Take what the guest stores to configuration space."""
        ...

    def read(self, offset: int, width: int) -> int:
        """What the guest reads from the window."""
        ...

    def write(self, offset: int, width: int, value: int) -> None:
        """Take what the guest stores to the window."""
        ...

    def reset(self) -> None:
        """Return to the power-on state."""
        ...

    def save(self) -> State:
        """The whole state as data."""
        ...

    def load(self, state: State) -> None:
        """Become what `save` described."""
        ...


class Bridge:
    """The host bridge itself, a function that does nothing but be there."""

    def __init__(self) -> None:
        self.config = ConfigSpace(BRIDGE)
        self.read_config, self.write_config = self.config.read, self.config.write
        self.reset, self.save, self.load = self.config.reset, self.config.save, self.config.load

    def read(self, offset: int, width: int) -> int:
        """It has no window."""
        return 0

    def write(self, offset: int, width: int, value: int) -> None:
        """It has no window."""


class PciBus:
    """Function 0 of each slot; the bridge is in slot 0."""

    def __init__(self) -> None:
        self.functions: dict[int, PciFunction] = {0: Bridge()}

    def plug(self, function: PciFunction) -> int:
        """Put a function into the next slot, whose number is returned; raise ValueError where there is none."""
        slot = len(self.functions)
        if slot >= SLOTS:
            raise ValueError(f"a bus has {SLOTS} slots")
        self.functions[slot] = function
        return slot

    def _function(self, address: int, width: int) -> PciFunction | None:
        """The function that configuration address `address` (bus, slot, function, register) belongs to."""
        inside = address % SIZE + width <= SIZE
        return self.functions.get(address // (8 * SIZE)) if inside and not address // SIZE % 8 else None

    def read_config(self, address: int, width: int) -> int:
        """A load from configuration space."""
        function = self._function(address, width)
        return function.read_config(address % SIZE, width) if function else (1 << 8 * width) - 1

    def write_config(self, address: int, width: int, value: int) -> None:
        """A store to configuration space."""
        function = self._function(address, width)
        if function:
            function.write_config(address % SIZE, width, value)

    def at(self, address: int, width: int) -> tuple[PciFunction, int] | None:
        """The function whose window has all of a range of physical addresses, and the range's offset there."""
        for function in self.functions.values():
            base = function.config.base()
            if base is not None and base <= address and address + width <= base + function.config.window:
                return function, address - base
        return None


class Ecam:
    """Configuration space in memory; it also keeps the state of all functions."""

    size = BUS_SIZE

    def __init__(self, bus: PciBus) -> None:
        self._bus = bus

    def read(self, offset: int, width: int) -> int:
        """Of the function at that offset."""
        return self._bus.read_config(offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """Of the function at that offset."""
        self._bus.write_config(offset, width, value)

    def reset(self) -> None:
        """All functions."""
        for function in self._bus.functions.values():
            function.reset()

    def save(self) -> State:
        """All functions, by slot."""
        return {"version": 1, "slots": {str(slot): function.save() for slot, function in self._bus.functions.items()}}

    def load(self, state: State) -> None:
        """All functions; the slots are those of the machine that was saved."""
        check_version(state, "PCI bus", 1)
        for slot, function in self._bus.functions.items():
            function.load(state["slots"][str(slot)])


class ConfigPorts:
    """The ports 0xcf8 (address) and 0xcfc (data)."""

    size = 8

    def __init__(self, bus: PciBus) -> None:
        self._bus = bus
        self._address = 0

    def read(self, offset: int, width: int) -> int:
        """The address, which is there in one piece only, or the register it chooses."""
        if offset < _DATA:
            return self._address if (offset, width) == (_ADDRESS, 4) else (1 << 8 * width) - 1
        address = self._chosen(offset, width)
        return (1 << 8 * width) - 1 if address is None else self._bus.read_config(address, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """Choose a register, or store to it."""
        if offset < _DATA:
            if (offset, width) == (_ADDRESS, 4):
                self._address = value & 0x80FF_FFFC
            return
        address = self._chosen(offset, width)
        if address is not None:
            self._bus.write_config(address, width, value)

    def _chosen(self, offset: int, width: int) -> int | None:
        if not self._address & _PORT_ENABLE or offset + width > self.size:
            return None
        function, register = self._address >> 8 & 0xFFFF, (self._address & 0xFC) + offset - _DATA
        return function * SIZE + register

    def reset(self) -> None:
        """No register is chosen."""
        self._address = 0

    def save(self) -> State:
        """The address."""
        return {"version": 1, "address": self._address}

    def load(self, state: State) -> None:
        """The address."""
        check_version(state, "PCI configuration ports", 1)
        self._address = state["address"] & 0x80FF_FFFC


class Window:
    """Physical addresses from `base` on, `size` bytes, that belong to whichever function's window is put there."""

    size = BUS_SIZE

    def __init__(self, bus: PciBus, base: int, size: int) -> None:
        self._bus = bus
        self._base = base
        self.size = size

    def read(self, offset: int, width: int) -> int:
        """Of the function that is there."""
        found = self._bus.at(self._base + offset, width)
        return found[0].read(found[1], width) if found else (1 << 8 * width) - 1

    def write(self, offset: int, width: int, value: int) -> None:
        """Of the function that is there."""
        found = self._bus.at(self._base + offset, width)
        if found:
            found[0].write(found[1], width, value)

    def reset(self) -> None:
        """Nothing is kept here."""

    def save(self) -> State:
        """Nothing but the version."""
        return {"version": 1}

    def load(self, state: State) -> None:
        """Check the version."""
        check_version(state, "PCI window", 1)
