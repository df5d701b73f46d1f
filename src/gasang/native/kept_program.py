"""Programs that source files alone decide, found again without importing what they are made of or the compiler."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gasang.native.apart import made_apart
from gasang.native.build import object_key
from gasang.native.cache import ObjectCache, key_of
from gasang.native.library import OPTIMISE, own_sources, sources
from gasang.native.target import made_for

if TYPE_CHECKING:
    from gasang.native.function import NativeFunction


def kept_program(
    name: str,
    folders: Iterable[str],
    make: Callable[[], NativeFunction],
    *,
    data: bytes = b"",
    cache: ObjectCache | None = None,
    family: str = "",
) -> bytes:
    """The program of the function that `make` gives, made of the Python files in `folders`: for this host, or any processor of `family`.

    Where the cache has no sound entry for what they say now, `make` is called, in another process if it can be imported there by its name.
    Raises what `program` raises.
    """
    cache = cache or ObjectCache()
    with made_for(family, plain=bool(family)):
        key = object_key(key_of("program", name, data, *sources(folders), *own_sources()), OPTIMISE)
        found = cache.load(key)
        if found is None:
            told = family.encode() + b"\0" + data
            found = made_apart(compile_program, make, told) or compile_program(make(), told)
            cache.store(key, found)
    return found


def compile_program(entry: NativeFunction, told: bytes) -> bytes:
    """The program of a function, past the cache; `told` is a guest's processor family or "", a zero byte, and the program's data."""
    from gasang.native.program import link_program

    family, _, data = told.partition(b"\0")
    with made_for(family.decode(), plain=bool(family)):
        return link_program(entry, data, OPTIMISE)


def program_file(path: Path, image: bytes) -> Path:
    """A program as a file that can be executed, written where it is not there or is another; its path. Raises OSError."""
    if not path.is_file() or path.read_bytes() != image:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
        fresh.write_bytes(image)
        fresh.chmod(0o755)
        fresh.replace(path)
    return path
