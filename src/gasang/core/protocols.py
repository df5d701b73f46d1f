"""The seams between the rooms: each a protocol of three to six methods."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

State = dict[str, Any]
"""What `save` returns: plain values (int, str, bytes, list, dict) with a "version" key."""


class GuestMemoryFault(Exception):
    """A guest-supplied address or length lies outside guest RAM; the device that asked must fail, not the host."""

    def __init__(self, address: int, length: int) -> None:
        super().__init__(f"guest address {address:#x}+{length:#x} is not RAM")
        self.address = address
        self.length = length


class GuestMemory(Protocol):
    """The one checked accessor to guest-physical RAM. Every address and length may be hostile."""

    def read(self, address: int, length: int) -> bytes:
        """Copy `length` bytes at guest-physical `address`; raise GuestMemoryFault unless all of it is RAM."""
        ...

    def write(self, address: int, data: bytes | memoryview) -> None:
        """Store `data` at `address`; raise GuestMemoryFault unless all of it is RAM. Decoded code there is forgotten."""
        ...

    def view(self, address: int, length: int) -> memoryview:
        """A read-only window on RAM for transfers without a copy; raise GuestMemoryFault unless all of it is RAM."""
        ...

    def discard(self, address: int, length: int) -> None:
        """The guest needs a range no more: its whole pages go back to the host and read as zeroes, or stay as they are.

        Raise GuestMemoryFault unless all of it is RAM. Decoded code there is forgotten.
        """
        ...


@runtime_checkable
class MmioDevice(Protocol):
    """A device on the physical address bus. Offsets are below `size`; widths are 1, 2, 4 or 8 bytes."""

    size: int

    def read(self, offset: int, width: int) -> int:
        """The value the guest reads; unknown registers read as zero."""
        ...

    def write(self, offset: int, width: int, value: int) -> None:
        """Take a guest's store; unknown registers ignore it."""
        ...

    def reset(self) -> None:
        """Return to the power-on state."""
        ...

    def save(self) -> State:
        """The device's whole state as data."""
        ...

    def load(self, state: State) -> None:
        """Become what `save` described; older versions keep loading."""
        ...


class IrqLine(Protocol):
    """A level-triggered interrupt line into an interrupt controller."""

    def set(self, level: bool) -> None:
        """Drive the line. May be called from any thread that holds the machine's bus lock."""
        ...


class Block(Protocol):
    """A random-access disk. Offsets and lengths are in bytes; every range lies within `size`."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes; raise OSError if the host fails."""
        ...

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Store all of `data`; raise OSError if the host fails."""
        ...

    def flush(self) -> None:
        """Return once everything written is on stable storage."""
        ...

    def discard(self, offset: int, length: int) -> None:
        """The range's content is no longer needed; it reads as zeroes or as before."""
        ...

    def close(self) -> None:
        """Release the host's resources."""
        ...


@runtime_checkable
class Pausable(Protocol):
    """A machine that can stand still and go on as if nothing had been."""

    def pause(self) -> None:
        """Return when nothing of the machine changes any more. Raises StateError where its state does not allow it."""
        ...

    def resume(self) -> None:
        """Go on. Raises StateError where it is not paused."""
        ...


@runtime_checkable
class Snapshottable(Protocol):
    """A machine whose present state can be kept in a folder, to be restored in another process."""

    def snapshot(self, store: Path, name: str) -> Any:
        """Keep the present state as `name` in the folder `store`; the machine goes on if it ran. Raises GasangError."""
        ...


@runtime_checkable
class Forkable(Protocol):
    """A machine that can have running twins, which share with it what neither has written since."""

    def fork(self, body: Callable[[Any], int]) -> Any:
        """A twin in a process of its own, in which `body` is called with it; what it returns is the process's exit code."""
        ...


class CharacterSink(Protocol):
    """Where a serial line's or a console port's output goes."""

    def __call__(self, data: bytes) -> None:
        """Take the bytes the guest sent."""
        ...


Interrupt = Callable[[bool], None]
"""Sets the external interrupt of one hart; made by the accelerator, called by the interrupt controller."""
