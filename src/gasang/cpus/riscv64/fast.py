"""The fast halves of a hart's loads and stores: what a handler tries first (handlers.py), and what stitched code does (stencils.py).

A miss is a Fault without a cause, and the handler's slow twin executes the instruction anew, so that the fast code calls nothing and needs
no stack. The entry's place is a number here and no pointer: LLVM then adds it up where it loads, and not before, two instructions of
fifteen.
"""

from __future__ import annotations

from typing import Any

from gasang.cpus.riscv64.memory import (
    amo_pointer_u32,
    amo_pointer_u64,
    load_u8,
    load_u16,
    load_u32,
    load_u64,
    store_u8,
    store_u16,
    store_u32,
    store_u64,
)
from gasang.cpus.riscv64.reservation import contended
from gasang.cpus.riscv64.state import PAGE_MASK, PAGE_SHIFT, TLB_ENTRIES, Cpu, TlbEntry
from gasang.native import Fault, NativeFunction, cast, native_from_source, ptr, u8, u16, u32, u64, unlikely
from gasang.native.types import offset_of, size_of

_ENTRY_SHIFT = size_of(TlbEntry).bit_length() - 1
_TLB = offset_of(Cpu, "tlb")
_NAMESPACE: dict[str, Any] = {
    "Fault": Fault, "Cpu": Cpu, "cast": cast, "ptr": ptr, "u8": u8, "u16": u16, "u32": u32, "u64": u64, "unlikely": unlikely,
    "contended": contended, "INDEX": TLB_ENTRIES - 1 << _ENTRY_SHIFT, "SHIFT": PAGE_SHIFT - _ENTRY_SHIFT,
    "READ_TAG": _TLB + offset_of(TlbEntry, "read_tag"), "WRITE_TAG": _TLB + offset_of(TlbEntry, "write_tag"),
    "ADDEND": _TLB + offset_of(TlbEntry, "addend"),
}  # fmt: skip
_KNOWN = """
    place = u64(cpu) + ((address >> SHIFT) & INDEX)
    if unlikely(cast(ptr[u64], place + {tag})[0] != (address & {mask}) | cpu.context):
        raise Fault
    host = address + cast(ptr[u64], place + ADDEND)[0]
"""
_LOAD = """
def try_load_{kind}(cpu: ptr[Cpu], address: u64) -> {kind}:
{known}
    return cast(ptr[{kind}], host)[0]
"""
_UNWATCHED = """
    if unlikely(contended(cpu, host) != 0):
        raise Fault
"""
_STORE = """
def try_store_{kind}(cpu: ptr[Cpu], address: u64, value: {kind}) -> None:
{known}
    cast(ptr[{kind}], host)[0] = value
"""
_POINT = """
def try_amo_pointer_{kind}(cpu: ptr[Cpu], address: u64) -> ptr[{kind}]:
{known}
    return cast(ptr[{kind}], host)
"""


def _made(text: str, size: int, tag: str, more: str = "") -> NativeFunction:
    known = _KNOWN.format(tag=tag, mask=PAGE_MASK | (size - 1)) + more
    return native_from_source(
        text.format(kind=f"u{8 * size}", known=known), _NAMESPACE, file="<fast half of an access>", may_fault=True, inline=True
    )


_STORES = {store_u8: 1, store_u16: 2, store_u32: 4, store_u64: 8}
FAST: dict[Any, NativeFunction] = {
    **{load: _made(_LOAD, size, "READ_TAG") for load, size in ((load_u8, 1), (load_u16, 2), (load_u32, 4), (load_u64, 8))},
    **{store: _made(_STORE, size, "WRITE_TAG", _UNWATCHED) for store, size in _STORES.items()},
    **{point: _made(_POINT, size, "WRITE_TAG", _UNWATCHED) for point, size in ((amo_pointer_u32, 4), (amo_pointer_u64, 8))},
}
"""The fast half of each access that has one: of a page that the soft TLB knows, and of a store that nobody watches."""
FAST_ALONE = {**FAST, **{store: _made(_STORE, size, "WRITE_TAG") for store, size in _STORES.items()}}
"""The same in a machine with one hart: nobody watches."""
STORES = _STORES.keys()
"""Accesses that differ between the two."""
