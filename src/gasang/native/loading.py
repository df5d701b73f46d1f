"""Compiled objects into this process: linked by us where we know the code, by LLVM elsewhere.

An object with an unresolved symbol is refused, never linked.
"""

from __future__ import annotations

import ctypes
import hashlib
import threading
from typing import Any

from gasang.core.errors import GasangError
from gasang.host.code import reserve_code
from gasang.native.elf_object import ElfObject, undefined_symbols
from gasang.native.linker import UnlinkableError, image_of, lay_out, offsets
from gasang.native.symbols import entry_symbol, table_symbol
from gasang.native.target import level

lock = threading.RLock()
"""Held while LLVM works: it has one process-wide state."""
_llvm: dict[str, Any] = {}


class LinkError(GasangError):
    """Compiled code needs a symbol nobody provides."""

    def __init__(self, symbols: set[str]) -> None:
        super().__init__("compiled code", f"it calls {', '.join(sorted(symbols))}, which nothing here provides")


class Built:
    """Addresses of linked code."""

    def __init__(self, entries: list[int], tables: dict[str, list[int]]) -> None:
        self.entries = entries
        self.tables = tables


def host_symbols() -> dict[str, int]:
    """The host functions LLVM may call by itself, which we vouch for."""
    move = _address(ctypes.memmove)
    return {"memmove": move, "memcpy": move, "memset": _address(ctypes.memset)}


def _address(function: Any) -> int:
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


def unresolved(data: bytes) -> set[str]:
    """Symbols of an object that nothing here provides."""
    try:
        return undefined_symbols(data) - set(host_symbols())
    except ValueError:
        return {"<damaged object>"}


def link(data: bytes, entries: int, tables: dict[str, int]) -> Built:
    """Map an object into the process and find its entries and tables. Raises LinkError for a call that nobody answers."""
    names = [entry_symbol(index) for index in range(entries)] + [table_symbol(name) for name in tables]
    addresses = link_ourselves(data, names) or link_by_llvm(data, names)
    places = addresses[entries:]
    rows = {name: list((ctypes.c_uint64 * count).from_address(at)) for (name, count), at in zip(tables.items(), places, strict=True)}
    return Built(addresses[:entries], rows)


def link_ourselves(data: bytes, names: list[str]) -> list[int]:
    """Addresses of symbols; none where the object or the host is not one that our own linker knows."""
    try:
        linked = ElfObject(data)
        layout = lay_out(linked)
        found = offsets(linked, layout, names)
        memory = reserve_code(layout.size)
        if memory is None:
            return []
        sealed = memory.seal(image_of(linked, layout, memory.address, host_symbols()), layout.executable)
    except UnlinkableError:
        return []
    return [memory.address + offset for offset in found] if sealed else []


def link_by_llvm(data: bytes, names: list[str]) -> list[int]:
    """The same by LLVM's linker, which knows every processor that LLVM makes code for."""
    import llvmlite.binding as llvm

    missing = unresolved(data)
    if missing:
        raise LinkError(missing)
    with lock:
        if "jit" not in _llvm:
            _llvm["jit"] = llvm.create_lljit_compiler(target_machine(2), use_jit_link=False, suppress_errors=False)
            _llvm["trackers"] = []
        library = llvm.JITLibraryBuilder().add_object_img(data)
        for name, address in host_symbols().items():
            library.import_symbol(name, address)
        for name in names:
            library.export_symbol(name)
        unique = f"{hashlib.sha256(data).hexdigest()[:16]}.{len(_llvm['trackers'])}"
        tracker = library.link(_llvm["jit"], unique)
        _llvm["trackers"].append(tracker)
        return [int(tracker[name]) for name in names]


def target_machine(optimise: int) -> Any:
    """LLVM's code generator for this host, always to ELF."""
    import llvmlite.binding as llvm

    with lock:
        if "ready" not in _llvm:
            llvm.initialize_native_target()
            llvm.initialize_native_asmprinter()
            llvm.initialize_native_asmparser()  # system calls are inline assembly
            _llvm["ready"] = True
        cpu, features = level()
        triple = llvm.get_default_triple()
        if "linux" not in triple:
            triple += "-elf"
        target = llvm.Target.from_triple(triple)
        return target.create_target_machine(cpu=cpu, features=features, opt=optimise, reloc="pic", codemodel="small", jit=True)
