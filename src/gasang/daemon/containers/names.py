"""Identities of what the daemon makes: 64 hexadecimal digits, and a name people can say."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from gasang.core.errors import NotFoundError, UsageError

_MOODS_TEXT: Final = """
amber bold brave bright calm clear clever cool crisp daring deft eager early fair fast fine firm fleet fond free fresh gentle
glad golden grand green happy hardy keen kind light lively loyal lucky mellow merry mild neat nimble noble polite proud quick
quiet rapid ready rosy royal sharp shiny silent sleek smart smooth snug solid spry steady still sunny swift tidy vivid warm wise
witty young zesty
"""
_MOODS: Final = tuple(_MOODS_TEXT.split())
_BIRDS_TEXT: Final = """
avocet bittern bunting buzzard crane crow cuckoo curlew dove duck dunlin eagle egret falcon finch gannet goose grebe gull
harrier hawk heron hoopoe ibis jackdaw jay kestrel kite lapwing lark linnet magpie martin merlin nuthatch oriole osprey owl
petrel pigeon pipit plover puffin quail raven robin rook ruff sandpiper shrike siskin snipe sparrow starling stork swallow swan
swift teal tern thrush tit wagtail warbler wheatear wren
"""
_BIRDS: Final = tuple(_BIRDS_TEXT.split())


def new_id() -> str:
    """64 hexadecimal digits; the first twelve never look like a number, so that a short id is a word everywhere."""
    while (made := secrets.token_hex(32))[:12].isdecimal():
        pass
    return made


def new_name(taken: Callable[[str], bool]) -> str:
    """Two words that no machine here has as its name."""
    for attempt in range(1000):
        name = f"{secrets.choice(_MOODS)}_{secrets.choice(_BIRDS)}{attempt // 10 or ''}"
        if not taken(name):
            return name
    return new_id()[:12]


def now() -> str:
    """The time as RFC 3339 with nanoseconds."""
    import time

    return stamp(time.time_ns())


def stamp(nanoseconds: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 with all nine digits."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def find(word: str, names: Mapping[str, str], ids: Iterable[str], noun: str) -> str:
    """The id that `word` means: a name, a whole id, or the beginning of exactly one. Raises NotFoundError, UsageError."""
    bare = word.removeprefix("/")
    known = set(ids)
    if bare in known:
        return bare
    if bare in names:
        return names[bare]
    fits = [key for key in known if bare and key.startswith(bare)]
    if len(fits) > 1:
        raise UsageError(f"{noun} {bare[:80]!r}", f"{len(fits)} begin with it", "give more digits")
    if not fits:
        raise NotFoundError(f"No such {noun}", bare[:80], f"docker {noun} ls -a lists what is here")
    return fits[0]
