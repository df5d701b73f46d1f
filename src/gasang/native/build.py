"""Compile and link: LLVM IR to an object (or the cached object), and the object into this process.

LLVM is asked for a fixed processor level rather than the host's exact model: x86-64-v3, which every recent x86 has and which
avoids the AVX-512 code paths that call run-time functions the linker does not have. An object with an unresolved symbol is refused,
never linked.
"""

from __future__ import annotations

import ctypes
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gasang.core.errors import GasangError
from gasang.native.cache import ObjectCache, key_of
from gasang.native.elf_object import undefined_symbols
from gasang.native.emit_floats import machine
from gasang.native.function import NativeFunction
from gasang.native.llvm import ModuleEmitter
from gasang.native.symbols import entry_symbol, table_symbol

LEVELS = {"x86_64": ("x86-64-v3", ""), "aarch64": ("generic", "+v8.1a")}
_lock = threading.RLock()
_linker: dict[str, Any] = {}


class LinkError(GasangError):
    """Compiled code needs a symbol nobody provides."""

    def __init__(self, symbols: set[str]) -> None:
        super().__init__("compiled code", f"it calls {', '.join(sorted(symbols))}, which nothing here provides")


@dataclass(frozen=True)
class Built:
    """Addresses of linked code."""

    entries: list[int]
    tables: dict[str, list[int]]


def build(
    roots: list[NativeFunction],
    tables: dict[str, list[NativeFunction]] | None = None,
    *,
    optimise: int = 2,
    cache: ObjectCache | None = None,
) -> Built:
    """Compile and link functions; the key of the cache is the text LLVM would be given."""
    module = ModuleEmitter(roots, tables)
    text = module.emit()
    sizes = {name: len(functions) for name, functions in module.tables.items()}
    return link(load_or_compile(key_of(text), lambda: text, optimise, cache), len(roots), sizes)


def build_library(
    name: str,
    sources: list[Path],
    roots: Callable[[], ModuleEmitter],
    counts: tuple[int, dict[str, int]],
    *,
    cache: ObjectCache | None = None,
    optimise: int = 2,
) -> Built:
    """As `build`, for a set of functions that is decided by source files alone.

    The key is the content of these files and of the compiler's own, so that a warm start neither parses nor emits anything. `counts` are
    the numbers of roots and of each table's rows.
    """
    text_key = key_of(name, repr(counts), *(path.read_bytes() for path in [*own_sources(), *sources]))
    return link(load_or_compile(text_key, lambda: roots().emit(), optimise, cache), *counts)


def own_sources() -> list[Path]:
    """The compiler's own files: a change of the compiler is a change of everything compiled."""
    return sorted(Path(__file__).parent.glob("*.py"))


def load_or_compile(text_key: str, text: Callable[[], str], optimise: int, cache: ObjectCache | None = None) -> bytes:
    """The object of a module's text, from the cache if it is there and sound."""
    import llvmlite.binding as llvm

    cache = cache or ObjectCache()
    cpu, features = LEVELS.get(machine(), ("generic", ""))
    key = key_of(text_key, str(llvm.llvm_version_info), machine(), cpu, features, str(optimise))
    found = cache.load(key)
    if found is not None and not unresolved(found):
        return found
    compiled = compile_object(text(), optimise)
    cache.store(key, compiled)
    return compiled


def unresolved(data: bytes) -> set[str]:
    """Symbols of an object that nothing here provides."""
    try:
        return undefined_symbols(data) - set(host_symbols())
    except ValueError:
        return {"<damaged object>"}


def host_symbols() -> dict[str, int]:
    """The host functions LLVM may call by itself, which we vouch for."""
    move = _address(ctypes.memmove)
    return {"memmove": move, "memcpy": move, "memset": _address(ctypes.memset)}


def _address(function: Any) -> int:
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


def compile_object(text: str, optimise: int) -> bytes:
    """Machine code for a module's text, with our 128-bit operations added where LLVM calls them. Raises LinkError for other calls."""
    from gasang.native.builtins import BUILTINS, OPERATIONS

    helpers = {name for operation, name in OPERATIONS.items() if operation in text}
    while True:
        added = ModuleEmitter([], {"builtins": [BUILTINS[name] for name in sorted(helpers)]}).emit()
        compiled = emit_object([text, added] if helpers else [text], optimise)
        missing = unresolved(compiled)
        if not missing:
            return compiled
        if not missing <= set(BUILTINS) - helpers:
            raise LinkError(missing)
        helpers |= missing  # LLVM has found a wide division where the text has none


def emit_object(texts: list[str], optimise: int, target: Any = None) -> bytes:
    """One object of several modules' texts, by the host's code generator or another."""
    import llvmlite.binding as llvm

    with _lock:
        target = target or target_machine(optimise)
        module = llvm.parse_assembly(texts[0])
        for text in texts[1:]:
            module.link_in(llvm.parse_assembly(text))
        module.verify()
        # A pass manager serves one module: using one for two ends the process.
        tuning = llvm.create_pipeline_tuning_options(speed_level=optimise)
        builder = llvm.create_pass_builder(target, tuning)
        builder.getModulePassManager().run(module, builder)
        return bytes(target.emit_object(module))


def target_machine(optimise: int) -> Any:
    """LLVM's code generator for this host, always to ELF."""
    import llvmlite.binding as llvm

    with _lock:
        if "ready" not in _linker:
            llvm.initialize_native_target()
            llvm.initialize_native_asmprinter()
            llvm.initialize_native_asmparser()  # system calls are inline assembly
            _linker["ready"] = True
        cpu, features = LEVELS.get(machine(), ("generic", ""))
        triple = llvm.get_default_triple()
        if "linux" not in triple:
            triple += "-elf"
        target = llvm.Target.from_triple(triple)
        return target.create_target_machine(cpu=cpu, features=features, opt=optimise, reloc="pic", codemodel="small", jit=True)


def link(data: bytes, entries: int, tables: dict[str, int]) -> Built:
    """Map an object into the process and find its entries and tables."""
    import llvmlite.binding as llvm

    with _lock:
        if "jit" not in _linker:
            _linker["jit"] = llvm.create_lljit_compiler(target_machine(2), use_jit_link=False, suppress_errors=False)
            _linker["trackers"] = []
        library = llvm.JITLibraryBuilder().add_object_img(data)
        for name, address in host_symbols().items():
            library.import_symbol(name, address)
        names = [entry_symbol(index) for index in range(entries)] + [table_symbol(name) for name in tables]
        for name in names:
            library.export_symbol(name)
        unique = f"{hashlib.sha256(data).hexdigest()[:16]}.{len(_linker['trackers'])}"
        tracker = library.link(_linker["jit"], unique)
        _linker["trackers"].append(tracker)
        rows = {name: list((ctypes.c_uint64 * count).from_address(tracker[table_symbol(name)])) for name, count in tables.items()}
        return Built([tracker[entry_symbol(index)] for index in range(entries)], rows)
