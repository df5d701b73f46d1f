"""A native function as a program: a static executable that needs no library and no loader, for this host's processor family or a guest's.

The program starts with the kernel's stack pointer as argument (argc, argv, 0, envp, 0, auxiliary vector: System V ABI, "Process
Initialization") and ends with the function's result as exit code. It is kept in the cache of objects, keyed by everything that decides it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gasang.core.errors import OutOfSpaceError
from gasang.native.build import emit_object, object_key
from gasang.native.builtins import BUILTINS
from gasang.native.cache import ObjectCache, key_of
from gasang.native.elf_object import read_object, undefined_symbols
from gasang.native.emit_floats import UnsupportedHost
from gasang.native.emit_function import FunctionEmitter
from gasang.native.errors import NativeError
from gasang.native.executable import link_executable
from gasang.native.foreign import SYSTEM_CALL, with_system_calls
from gasang.native.function import NativeFunction
from gasang.native.library import own_sources
from gasang.native.llvm import ModuleEmitter
from gasang.native.loading import LinkError, target_machine
from gasang.native.memory_functions import MEMORY_FUNCTIONS
from gasang.native.program_start import with_start
from gasang.native.relocate import MACHINES, with_targets
from gasang.native.symbols import entry_symbol
from gasang.native.target import level, machine, made_for
from gasang.native.types import i32, ptr, u8, u64

_DATA = "program.data"
_MODELS = {"riscv64": {"reloc": "static", "codemodel": "medium", "abiname": "lp64d"}}
"""How code refers to what is elsewhere, so that it may lie anywhere; on RISC-V the "medium" model does, and needs no table of addresses."""
_PROVIDED = {**BUILTINS, **MEMORY_FUNCTIONS}


def program(
    entry: NativeFunction,
    *,
    data: bytes = b"",
    sources: Sequence[Path] | None = None,
    optimise: int = 2,
    cache: ObjectCache | None = None,
    family: str = "",
) -> bytes:
    """The executable of a function taking `stack: ptr[u64]`, or also `data: ptr[u8]` (the address of `data`), and giving an i32.

    `family` is the processor's, the host's unless given: x86_64, aarch64 or riscv64. Numbers of system calls differ between them: a program
    for several gets its numbers as data. With `sources`, the files whose content alone decides the functions, a program in the cache is
    found without compiling anything. Raises NativeError for another signature, LinkError for calls of functions that nothing here provides.
    """
    cache = cache or ObjectCache()
    with made_for(family or machine()):
        key = _key(entry, data, sources, optimise)
        found = cache.load(key)
        if found is None:
            found = link_program(entry, data, optimise)
            cache.store(key, found)
    return found


def program_file(
    entry: NativeFunction, *, data: bytes = b"", sources: Sequence[Path] | None = None, cache: ObjectCache | None = None
) -> Path:
    """As `program`, as a file that can be executed; one that was damaged is written anew. Raises OutOfSpaceError if it cannot be kept."""
    cache = cache or ObjectCache()
    key = _key(entry, data, sources, 2)
    image = program(entry, data=data, sources=sources, cache=cache)
    path = cache.path(key).with_suffix(".program")
    if not _is_sound(path, image):
        _write(path, image, entry.__name__)
    return path


def _key(entry: NativeFunction, data: bytes, sources: Sequence[Path] | None, optimise: int) -> str:
    decides: list[str | bytes] = [*own_sources()]
    decides += [ModuleEmitter([entry]).emit()] if sources is None else [path.read_bytes() for path in sources]
    return object_key(key_of("program", entry.name, data, *decides), optimise)


def _is_sound(path: Path, image: bytes) -> bool:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            trusted = status.st_uid in (0, os.geteuid()) and status.st_mode & 0o7777 == 0o700
            return trusted and file.read(len(image) + 1) == image
    except OSError:
        return False


def _write(path: Path, image: bytes, name: str) -> None:
    temporary = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        with os.fdopen(handle, "wb") as file:
            file.write(image)
            os.fchmod(file.fileno(), 0o700)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        hint = "make room there, or name another folder in GASANG_NATIVE_CACHE"
        raise OutOfSpaceError(f"program {name}", f"it cannot be written to {path.parent} ({error.strerror})", hint) from error


def link_program(entry: NativeFunction, data: bytes, optimise: int) -> bytes:
    """Compile and link, past the cache."""
    _check(entry)
    if machine() not in MACHINES:
        raise UnsupportedHost("programs")
    text = ModuleEmitter([entry]).emit()
    helpers: set[str] = set()
    while True:
        compiled = emit_object([text, _constant(data), *_helpers(helpers)], optimise, _target(optimise))
        missing = undefined_symbols(compiled) - {SYSTEM_CALL}
        if not missing:
            made = with_system_calls(with_targets(read_object(compiled)))
            return link_executable(with_start(made, entry_symbol(0), _DATA))
        if not missing <= set(_PROVIDED) - helpers:
            raise LinkError(missing - set(_PROVIDED) or missing)
        helpers |= missing


def _check(entry: NativeFunction) -> None:
    kinds = [kind for _, kind in entry.parameters]
    if kinds not in ([ptr[u64]], [ptr[u64], ptr[u8]]) or entry.result != i32 or entry.may_fault:
        rule = "a program is a function (stack: ptr[u64]) or (stack: ptr[u64], data: ptr[u8]) -> i32 that does not fault"
        raise NativeError(entry.file, entry.definition.lineno, rule)


def _constant(data: bytes) -> str:
    content = "".join(f"\\{byte:02x}" for byte in data)
    return f'@"{_DATA}" = constant [{len(data)} x i8] c"{content}", align 16\n'


def _helpers(names: set[str]) -> list[str]:
    """The text of helper functions: a module of their own, so that their names stay as LLVM calls them."""
    if not names:
        return []
    module = ModuleEmitter([], {"helpers": [_PROVIDED[name] for name in sorted(names)]})
    return ["\n".join(FunctionEmitter(module.names, function, id(function) in module.floating).emit() for function in module.functions)]


def _target(optimise: int) -> Any:
    """LLVM's code generator for programs: position-independent, for the same processor level as all compiled code."""
    import llvmlite.binding as llvm

    with made_for(""):
        target_machine(optimise)  # makes LLVM ready for the host
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    cpu, features = level()
    target = llvm.Target.from_triple(f"{machine()}-unknown-linux-gnu")
    model = _MODELS.get(machine(), {"reloc": "pic", "codemodel": "small"})
    return target.create_target_machine(cpu=cpu, features=features, opt=optimise, **model)
