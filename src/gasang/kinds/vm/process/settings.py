"""What a machine is to be, as a document: `machine.json` in its folder, and what clients ask for."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import BadInputError, UsageError
from gasang.kinds.vm.card import Card, card_of, is_card
from gasang.kinds.vm.disks import is_document
from gasang.kinds.vm.folders import check_target
from gasang.kinds.vm.launch import MINIMUM_MEMORY
from gasang.kinds.vm.platforms import ACCELERATORS, ARCHITECTURES

NAME: Final = "machine.json"
REQUIRED: Final = "required"
MOST_CPUS: Final = 256
MOST_MEMORY: Final = 1 << 46
_MOST_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class MachineSettings:
    """A machine. `memory` in bytes; either `image` or `kernel` is given; paths are absolute.

    `disks` are the user's own, as disks.to_document has them, `folders` the host's that an image's guest mounts, as (source, target,
    read-only); so are `volumes`, by the folders of disk volumes.
    `snapshot` is the folder of the snapshot that it goes on from, "" to boot it. Without `architecture` and `accelerator` kernel
    and host decide (platforms.choose). With `jail` REQUIRED it does not start where a part of its jail does not hold (jail.py).
    `jit` is whether the software processor compiles hot code (accel.soft.machine.JIT); one that is restored or forked only interprets it.
    `network` is its card for this start, None for none; `stop_signal` is what its programs get when it is to end.
    """

    cpus: int = 1
    memory: int = 512 << 20
    image: str = ""
    kernel: str = ""
    initrd: str = ""
    append: str = ""
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    hostname: str = ""
    tty: bool = False
    stdin: bool = False
    disks: tuple[tuple[Any, ...], ...] = ()
    folders: tuple[tuple[str, str, bool], ...] = ()
    volumes: tuple[tuple[str, str, bool], ...] = ()
    snapshot: str = ""
    architecture: str = ""
    accelerator: str = ""
    huge_pages: bool = False
    jail: str = ""
    jit: str = ""
    network: Card | None = None
    stop_signal: int = int(signal.SIGTERM)

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> MachineSettings:
        """The machine of a document with these names. Raises UsageError for another name or a value that cannot be."""
        known = {entry.name for entry in fields(cls)}
        for name, value in document.items():
            if name not in known:
                raise UsageError(f"machine setting {name[:40]!r}", "there is none of this name", f"use {', '.join(sorted(known))}")
            if not _TESTS[name](value):
                raise UsageError(f"machine setting {name}", f"its value {str(value)[:60]!r} cannot be", "correct it")
        words = {name: tuple(document[name]) for name in ("command", "environment") if name in document}
        disks = tuple(tuple(disk) for disk in document.get("disks", ()))
        folders, volumes = (
            tuple((str(source), str(target), bool(read_only)) for source, target, read_only in document.get(name, ()))
            for name in ("folders", "volumes")
        )
        for _, target, _ in (*folders, *volumes):
            check_target(target)
        card = card_of(document.get("network"))
        made = cls(**{**document, **words, "disks": disks, "folders": folders, "volumes": volumes, "network": card})
        if bool(made.image) == bool(made.kernel):
            raise UsageError("machine", "it needs an image or a kernel, one of the two", "name one")
        if made.kernel and (made.folders or made.volumes):
            raise UsageError("machine setting folders", "only an image mounts folders and volumes", "leave them out, or the kernel")
        if made.kernel and card is not None:
            raise UsageError("machine setting network", "only an image has a network card", "leave it out, or the kernel")
        return made

    def write(self, folder: Path) -> None:
        """Keep them in a machine's folder, unless they are there. Raises OSError."""
        content = json.dumps(asdict(self)).encode("utf-8", "surrogateescape")
        with suppress(FileNotFoundError):
            if (folder / NAME).read_bytes() == content:  # a restore's are those of the one before
                return
        fresh = folder / f".{NAME}"
        fresh.write_bytes(content)
        fresh.replace(folder / NAME)

    @classmethod
    def read(cls, folder: Path) -> MachineSettings:
        """Those of a machine's folder. Raises BadInputError."""
        path = folder / NAME
        try:
            document = json.loads(path.read_text("utf-8", "surrogateescape"))
        except (OSError, ValueError, RecursionError) as error:
            raise BadInputError(f"settings {path}", f"they cannot be read ({error})", "remove the machine and make it anew") from error
        if not isinstance(document, dict):
            raise BadInputError(f"settings {path}", "they are damaged", "remove the machine and make it anew")
        return cls.of_document(document)


def _text(value: object) -> bool:
    return isinstance(value, str) and len(value) < _MOST_BYTES and "\0" not in value


def _path(value: object) -> bool:
    return value == "" or (isinstance(value, str) and _text(value) and value.startswith("/"))


def _texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(_text, value))


def _disks(value: object) -> bool:
    return isinstance(value, list | tuple) and all(map(is_document, value))


def _folders(value: object) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(folder, list | tuple)
        and len(folder) == 3
        and bool(folder[0])
        and _path(folder[0])
        and _text(folder[1])
        and isinstance(folder[2], bool)
        for folder in value
    )


def _truth(value: object) -> bool:
    return isinstance(value, bool)


def _one_of(*names: str) -> Callable[[object], bool]:
    return lambda value: value in ("", *names)


_TESTS: Final[dict[str, Callable[[Any], bool]]] = {
    "cpus": lambda value: type(value) is int and 1 <= value <= MOST_CPUS,
    "memory": lambda value: type(value) is int and MINIMUM_MEMORY <= value <= MOST_MEMORY,
    "image": _text,
    "kernel": _path,
    "initrd": _path,
    "append": _text,
    "command": _texts,
    "environment": _texts,
    "hostname": _text,
    "tty": _truth,
    "stdin": _truth,
    "disks": _disks,
    "folders": _folders,
    "volumes": _folders,
    "snapshot": _path,
    "huge_pages": _truth,
    "jail": _one_of(REQUIRED),
    "jit": _one_of("off", "on", "check"),
    "network": is_card,
    "stop_signal": lambda value: type(value) is int and value in signal.valid_signals(),
    "architecture": _one_of(*ARCHITECTURES),
    "accelerator": _one_of(*ACCELERATORS),
}
