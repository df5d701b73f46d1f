"""Memory and system calls for native functions that run as plain Python: pointers over real addresses."""

from __future__ import annotations

import ctypes
from typing import Any

from gasang.native.types import ArrayType, FunctionType, PointerType, StructType, Type, bits_of, from_bits

_ADDRESSES = 1 << 64


class Pointer:
    """An address with a pointer type: what `ptr[T]` is in plain Python."""

    def __init__(self, type: PointerType, address: int) -> None:  # noqa: A002 - named as in native text
        self.type = type
        self.address = address

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pointer) and (self.type, self.address) == (other.type, other.address)

    def __hash__(self) -> int:
        return hash(self.address)

    def __add__(self, elements: int) -> Pointer:
        return Pointer(self.type, (self.address + elements * self.type.target.size) % _ADDRESSES)

    def load(self) -> Any:
        """The value pointed to; a nested struct or array is given as a pointer to it."""
        return load_from(self.type.target, self.address)

    def store(self, value: Any) -> None:
        """Replace the value pointed to."""
        target = self.type.target
        bits = address_from(value) if isinstance(target, (PointerType, FunctionType)) else bits_of(target, value)
        ctypes.memmove(self.address, bits.to_bytes(target.size, "little"), target.size)


def load_from(kind: Type, address: int) -> Any:
    """Read a value of a type at an address."""
    if isinstance(kind, (StructType, ArrayType)):
        return Pointer(PointerType("", 8, 8, "ptr", kind), address)
    bits = int.from_bytes(ctypes.string_at(address, kind.size), "little")
    if isinstance(kind, PointerType):
        return Pointer(kind, bits)
    return bits if isinstance(kind, FunctionType) else from_bits(kind, bits)


def address_from(argument: Any) -> int:
    """The address in an int, a Pointer, or a ctypes object (also a ctypes array)."""
    if isinstance(argument, int):
        return argument % _ADDRESSES
    if isinstance(argument, Pointer):
        return argument.address
    return ctypes.addressof(argument)


def raw_copy(to: Pointer, from_: Pointer, count: int) -> None:
    """Copy bytes; the two ranges may overlap."""
    ctypes.memmove(to.address, from_.address, count)


def raw_fill(to: Pointer, byte: int, count: int) -> None:
    """Set bytes."""
    ctypes.memset(to.address, byte, count)


def raw_syscall(*arguments: int) -> int:
    """A system call of the host, giving -errno as the kernel does."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = int(libc.syscall(*(ctypes.c_long(argument if argument < 1 << 63 else argument - _ADDRESSES) for argument in arguments)))
    return -ctypes.get_errno() if result == -1 else result
