"""What code is made for, and by which LLVM: both are part of every cached object's key.

LLVM is asked for a fixed processor level rather than the host's exact model: x86-64-v3, which every recent x86 has and which avoids the
AVX-512 code paths that call run-time functions the linker does not have.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_LEVELS = {"x86_64": ("x86-64-v3", ""), "aarch64": ("generic", "+v8.1a"), "riscv64": ("generic-rv64", "+m,+a,+f,+d,+c")}
_PLAIN_LEVELS = {"x86_64": ("x86-64", "")}
_made_for: ContextVar[str] = ContextVar("made_for", default="")
_is_plain: ContextVar[bool] = ContextVar("is_plain", default=False)


@contextmanager
def made_for(family: str, *, plain: bool = False) -> Iterator[None]:
    """Have code in the block made for another processor family than the host's: for programs, which another machine will run.

    `plain` asks for no more than every processor of the family has: a guest's may be older than the host's.
    """
    before, plain_before = _made_for.set(family), _is_plain.set(plain)
    try:
        yield
    finally:
        _made_for.reset(before)
        _is_plain.reset(plain_before)


def machine() -> str:
    """The processor family that code is made for, the host's as a rule: x86_64, aarch64 or riscv64."""
    return _made_for.get() or _host()


def is_foreign() -> bool:
    """Whether code is made for another processor family than the host's."""
    return machine() != _host()


def _host() -> str:
    if hasattr(os, "uname"):
        name = os.uname().machine.lower()
    else:
        import platform

        name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def level() -> tuple[str, str]:
    """The processor and the features code is made for, as LLVM names them."""
    if _is_plain.get() and machine() in _PLAIN_LEVELS:
        return _PLAIN_LEVELS[machine()]
    return _LEVELS.get(machine(), ("generic", ""))


@cache
def compiler_identity() -> str:
    """Which llvmlite is installed, without loading it: its version file and its library's size."""
    spec = find_spec("llvmlite")
    if spec is None or spec.origin is None:
        return "none"
    folder = Path(spec.origin).parent
    version = folder / "_version.py"
    libraries = sorted((path.name, path.stat().st_size) for path in (folder / "binding").glob("*llvmlite.*"))
    return f"{version.read_text() if version.exists() else ''}{libraries}"
