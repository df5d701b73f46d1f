"""Compiled objects into this process: linked by us where we know the code, by LLVM elsewhere.

An object with an unresolved symbol is refused, never linked.
"""

from __future__ import annotations

import ctypes
import hashlib
import threading
from collections.abc import Iterable
from typing import Any

from gasang.core.errors import GasangError
from gasang.host.code import CodeMemory, can_make_code
from gasang.native.image import unpack
from gasang.native.symbols import entry_symbol, table_symbol
from gasang.native.target import level

lock = threading.RLock()
"""Held while LLVM works: it has one process-wide state."""
_llvm: dict[str, Any] = {}
_OBJECT = b"\x7fELF"


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
    from gasang.native.elf_object import undefined_symbols

    try:
        return undefined_symbols(data) - set(host_symbols())
    except ValueError:
        return {"<damaged object>"}


def linked(data: bytes, names: Iterable[str]) -> bytes:
    """An object as it is kept for later starts: as an image where we link it ourselves, as it is elsewhere. `names` are asked for later.

    Raises LinkError for a call that nobody answers, ValueError if a name is missing.
    """
    from gasang.native.elf_object import read_object
    from gasang.native.linker import UnlinkableError, link_image
    from gasang.native.relocate import RelocationError

    missing = unresolved(data)
    if missing:
        raise LinkError(missing)
    try:
        return link_image(read_object(data), names, host_symbols()).pack() if can_make_code() else data
    except (UnlinkableError, RelocationError):
        return data


def place(kept: bytes, names: dict[str, int]) -> list[int]:
    """Map what `linked` gave into this process: the addresses of `names`, each with so many bytes behind it.

    Raises ValueError if it does not fit together.
    """
    if kept.startswith(_OBJECT):
        return _place_by_llvm(kept, list(names))
    image = unpack(kept)
    size = len(image.content)
    missing = [name for name, wanted in names.items() if image.symbols.get(name, size) + wanted > size]
    if missing or not {*image.hosts.values()} <= host_symbols().keys():
        raise ValueError(f"an image without {missing}, for {image.hosts}")
    memory = CodeMemory(size)
    memory.seal(image.at(memory.address, host_symbols()), image.executable)
    return [memory.address + image.symbols[name] for name in names]


def link(data: bytes, entries: int, tables: dict[str, int]) -> Built:
    """Map an object into the process and find its entries and tables. Raises LinkError for a call that nobody answers."""
    names = symbols_of(entries, tables)
    return built(place(linked(data, names), names), tables)


def symbols_of(entries: int, tables: dict[str, int]) -> dict[str, int]:
    """The symbols of so many entries and of tables of so many rows, and the bytes that each has at least."""
    code = {entry_symbol(index): 1 for index in range(entries)}
    return code | {table_symbol(name): count * ctypes.sizeof(ctypes.c_uint64) for name, count in tables.items()}


def built(addresses: list[int], tables: dict[str, int]) -> Built:
    """Of the addresses of `symbols_of`; `tables` are the numbers of rows."""
    entries = len(addresses) - len(tables)
    places = zip(tables.items(), addresses[entries:], strict=True)
    return Built(addresses[:entries], {name: list((ctypes.c_uint64 * count).from_address(at)) for (name, count), at in places})


def _place_by_llvm(data: bytes, names: list[str]) -> list[int]:
    """By LLVM's linker, which knows every processor that LLVM makes code for."""
    import llvmlite.binding as llvm

    if unresolved(data):  # LLVM would take its address for 0
        raise ValueError(f"an object that calls {unresolved(data)}")
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
