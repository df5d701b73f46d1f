"""Programs that source files alone decide, found again without importing what they are made of or the compiler."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from gasang.native.apart import made_apart
from gasang.native.build import object_key
from gasang.native.cache import ObjectCache, key_of
from gasang.native.library import OPTIMISE, own_sources, sources

if TYPE_CHECKING:
    from gasang.native.function import NativeFunction


def kept_program(
    name: str, folders: Iterable[str], make: Callable[[], NativeFunction], *, data: bytes = b"", cache: ObjectCache | None = None
) -> bytes:
    """The program of the function that `make` gives, made of the Python files in `folders`.

    Where the cache has no sound entry for what they say now, `make` is called, in another process if it can be imported there by its name.
    Raises what `program` raises.
    """
    cache = cache or ObjectCache()
    key = object_key(key_of("program", name, data, *sources(folders), *own_sources()), OPTIMISE)
    found = cache.load(key)
    if found is None:
        found = made_apart(compile_program, make, data) or compile_program(make(), data)
        cache.store(key, found)
    return found


def compile_program(entry: NativeFunction, data: bytes) -> bytes:
    """The program of a function, past the cache."""
    from gasang.native.program import link_program

    return link_program(entry, data, OPTIMISE)
