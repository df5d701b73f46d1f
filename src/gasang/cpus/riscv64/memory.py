"""A hart's loads and stores. Each faults by itself; a fault leaves the machine as before the instruction."""

from __future__ import annotations

from gasang.cpus.riscv64.state import Cpu
from gasang.native import (
    cast,
    fill,
    load_unaligned,
    native,
    ptr,
    store_unaligned,
    u8,
    u16,
    u32,
    u64,
)


@native(may_fault=True)
def load_u8(cpu: ptr[Cpu], address: u64) -> u8:
    """The byte at `address`."""
    return load_unaligned(cast(ptr[u8], address))


@native(may_fault=True)
def load_u16(cpu: ptr[Cpu], address: u64) -> u16:
    """The 16-bit value at `address`."""
    return load_unaligned(cast(ptr[u16], address))


@native(may_fault=True)
def load_u32(cpu: ptr[Cpu], address: u64) -> u32:
    """The 32-bit value at `address`."""
    return load_unaligned(cast(ptr[u32], address))


@native(may_fault=True)
def load_u64(cpu: ptr[Cpu], address: u64) -> u64:
    """The 64-bit value at `address`."""
    return load_unaligned(cast(ptr[u64], address))


@native(may_fault=True)
def store_u8(cpu: ptr[Cpu], address: u64, value: u8) -> None:
    """Store a byte at `address`."""
    store_unaligned(cast(ptr[u8], address), value)


@native(may_fault=True)
def store_u16(cpu: ptr[Cpu], address: u64, value: u16) -> None:
    """Store a 16-bit value at `address`."""
    store_unaligned(cast(ptr[u16], address), value)


@native(may_fault=True)
def store_u32(cpu: ptr[Cpu], address: u64, value: u32) -> None:
    """Store a 32-bit value at `address`."""
    store_unaligned(cast(ptr[u32], address), value)


@native(may_fault=True)
def store_u64(cpu: ptr[Cpu], address: u64, value: u64) -> None:
    """Store a 64-bit value at `address`."""
    store_unaligned(cast(ptr[u64], address), value)


@native(may_fault=True)
def amo_pointer_u32(cpu: ptr[Cpu], address: u64) -> ptr[u32]:
    """Where the 32-bit value at `address` lies, to be changed atomically; faults if misaligned."""
    return cast(ptr[u32], address)


@native(may_fault=True)
def amo_pointer_u64(cpu: ptr[Cpu], address: u64) -> ptr[u64]:
    """Where the 64-bit value at `address` lies, to be changed atomically; faults if misaligned."""
    return cast(ptr[u64], address)


@native(may_fault=True)
def zero_block(cpu: ptr[Cpu], address: u64) -> None:
    """Zero the 64-byte block that holds `address`."""
    fill(cast(ptr[u8], address & 0xFFFFFFFFFFFFFFC0), 0, 64)


@native(may_fault=True)
def probe_block(cpu: ptr[Cpu], address: u64) -> None:
    """Fault unless the 64-byte block that holds `address` may be accessed."""
