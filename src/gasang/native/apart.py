"""Compiling in a process of its own: LLVM and what a library is described by take some 40 MB, which a process that stays need not keep.

A process that finds no entry in the cache starts a helper, which imports the function that makes the parts, compiles them and writes the
entry to its standard output. Where that cannot be done (no interpreter to start, a function that cannot be imported by name, a helper that
fails) nothing is lost: the caller compiles itself, and reports what is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from gasang.native.apart import main; main(*sys.argv[2:])"
_inside = False
"""Whether this process is a helper, which compiles itself what it needs on the way."""


def made_apart(compile_it: Callable[[Any, bytes], bytes], make: Callable[[], Any], data: bytes = b"") -> bytes | None:
    """What `compile_it(make(), data)` gives, made in another process; None where that is not possible. Both are functions of modules."""
    if _inside or not sys.executable or not (_can_be_imported(compile_it) and _can_be_imported(make)):
        return None
    import json
    import subprocess

    names = [compile_it.__module__, compile_it.__qualname__, make.__module__, make.__qualname__]
    command = [sys.executable, "-c", _START, json.dumps(sys.path), *names]
    try:
        done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _can_be_imported(function: Callable[..., Any]) -> bool:
    module = sys.modules.get(function.__module__)
    return module is not None and function.__module__ != "__main__" and getattr(module, function.__qualname__, None) is function


def main(compiling_module: str, compiling: str, making_module: str, making: str) -> None:
    """The helper."""
    global _inside
    from importlib import import_module

    _inside = True
    compile_it = getattr(import_module(compiling_module), compiling)
    make = getattr(import_module(making_module), making)
    made: bytes = compile_it(make(), sys.stdin.buffer.read())
    sys.stdout.buffer.write(made)
