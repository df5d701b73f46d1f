"""What can be asked of a volume by name, whoever has it open: the daemon, or the machine that it is attached to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gasang.core.errors import UsageError
from gasang.storage.volumes.volume import Volume

Words = Mapping[str, Any]


def act(volume: Volume, name: str, words: Words) -> dict[str, Any]:
    """Do it; what there is to tell. Raises UsageError for what is no act or says too little, and as the act does."""
    if name not in ACTS:
        raise UsageError(f"volume act {name[:40]!r}", "there is none of this name", f"use {', '.join(ACTS)}")
    return ACTS[name](volume, words)


def _text(words: Words, name: str) -> str:
    value = words.get(name)
    if not isinstance(value, str):
        raise UsageError(f"volume's {name}", "it is missing", "give it")
    return value


def _snapshot(volume: Volume, words: Words) -> dict[str, Any]:
    kept = volume.snapshot(_text(words, "name"))
    return {"Name": words["name"], "Size": kept.size, "Created": kept.created}


def _forget(volume: Volume, words: Words) -> dict[str, Any]:
    volume.forget(_text(words, "name"))
    return {}


def _apply(volume: Volume, words: Words) -> dict[str, Any]:
    volume.apply(_text(words, "name"))
    return {"Size": volume.size}


def _resize(volume: Volume, words: Words) -> dict[str, Any]:
    size = words.get("size")
    if type(size) is not int:
        raise UsageError("volume's size", "it is missing", "give bytes")
    volume.resize(size)
    return {"Size": volume.size}


def _freeze(volume: Volume, words: Words) -> dict[str, Any]:
    return {"Layer": volume.freeze(), "Size": volume.size}


def _base(volume: Volume, words: Words) -> dict[str, Any]:
    volume.note_base(_text(words, "place"), _text(words, "layer"))
    return {}


def _release(volume: Volume, words: Words) -> dict[str, Any]:
    volume.release(_text(words, "name"))
    return {}


ACTS: Final[dict[str, Callable[[Volume, Words], dict[str, Any]]]] = {
    "snapshot": _snapshot,
    "forget": _forget,
    "apply": _apply,
    "resize": _resize,
    "freeze": _freeze,
    "base": _base,
    "release": _release,
}
OFFLINE: Final = frozenset({"apply"})
"""Acts that a machine's guest, which has the files open, would not survive."""
SYNCED: Final = frozenset({"snapshot", "freeze"})
"""Acts before which a guest is to write back what its programs wrote."""
