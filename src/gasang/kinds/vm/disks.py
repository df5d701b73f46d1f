"""The user's own disks and the throw-away layer over an image's disk, as devices of a machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from gasang.core.errors import UsageError
from gasang.core.paths import cache_folder
from gasang.core.protocols import Block
from gasang.devices.virtio.block import Later, VirtioBlock
from gasang.devices.worker import Worker
from gasang.images.spool import out_of_space
from gasang.storage.formats import Served, open_given, read_key
from gasang.storage.overlay import Overlay
from gasang.storage.raw import Raw

if TYPE_CHECKING:  # most disks have none
    from gasang.storage.throttle import Limits


@dataclass(frozen=True)
class Disk:
    """A disk of the user's: a file, or an address instead. `form` names its format; without it the file's content decides.

    One that is `served` is had by another process, at this connected socket (process/far_disks.py).
    """

    path: Path
    read_only: bool = False
    form: str = ""
    address: str = ""
    limits: Limits | None = None
    key_file: Path | None = None
    served: int = -1
    header: Path | None = None
    """Of a LUKS container, where that is a file of its own."""

    @property
    def name(self) -> str:
        """What its user calls it."""
        return self.address or str(self.path)


NOWHERE: Final = "/"
"""The path of a disk that is on no path of this host."""
MORE: Final = {"form": str, "address": str, "key_file": str, "header": str, "limits": list}
"""What a document says of a disk beside path and access, and what that is."""


def to_document(disk: Disk) -> list[Any]:
    """A disk as plain values: path, whether it is only read, and what else is said of it, if anything is; paths are absolute.

    Raises what `parse` raises, UsageError for a socket whose path is not absolute.
    """
    more: dict[str, Any] = {"form": disk.form, "address": disk.address}
    more["key_file"] = os.path.abspath(disk.key_file) if disk.key_file else ""
    more["header"] = os.path.abspath(disk.header) if disk.header else ""
    if disk.limits:
        more["limits"] = list(astuple(disk.limits))
    path = _socket_of(disk.address) if disk.address else os.path.abspath(disk.path)
    more = {name: value for name, value in more.items() if value}
    return [path or NOWHERE, disk.read_only, *([more] if more else [])]


def _socket_of(address: str) -> str:
    """The Unix socket of an address, which a machine in its jail reaches by itself, "" where there is none."""
    from gasang.storage.nbd.address import SCHEMES as NBD
    from gasang.storage.nbd.address import parse

    found = parse(address).path if address.startswith(NBD) else ""
    if found and not os.path.isabs(found):
        raise UsageError(f"disk {address}", "the path of its socket is not absolute", "begin it with /")
    return found


def is_far(disk: Disk) -> bool:
    """Whether it takes a network to reach it."""
    return bool(disk.address) and disk.served < 0 and not _socket_of(disk.address)


def of_document(document: Sequence[Any]) -> Disk:
    """The disk of what `to_document` made; `is_document` holds."""
    path, read_only, *rest = document
    more = rest[0] if rest else {}
    limits = None
    if "limits" in more:
        from gasang.storage.throttle import Limits

        limits = Limits(*more["limits"])
    key_file, header = (Path(more[name]) if name in more else None for name in ("key_file", "header"))
    return Disk(
        Path(path), bool(read_only), more.get("form", ""), more.get("address", ""), limits, key_file, more.get("served", -1), header
    )


def is_document(document: object) -> bool:
    """Whether this is a disk as plain values."""
    if not isinstance(document, list | tuple) or len(document) not in (2, 3):
        return False
    path, read_only, more = (*document, {})[:3]
    if not (_is_path(path) and isinstance(read_only, bool) and isinstance(more, dict) and set(more) <= set(MORE)):
        return False
    texts = [more[name] for name in more if MORE[name] is str]
    limits = more.get("limits", [0] * 4)
    return (
        all(isinstance(text, str) and text and "\0" not in text for text in texts)
        and _is_path(more.get("key_file", "/"))
        and _is_path(more.get("header", "/"))
        and isinstance(limits, list | tuple)
        and len(limits) == 4
        and all(type(number) is int and 0 <= number < 1 << 60 for number in limits)
    )


def _is_path(value: object) -> bool:
    return isinstance(value, str) and value.startswith("/") and "\0" not in value


@runtime_checkable
class Limited(Protocol):
    """A disk with limits."""

    def let_go(self) -> None:
        """Hold nothing to the limits any more."""
        ...


class _Own(Worker):
    """The worker of one slow disk: when it is to end, what waits for the disk's limits waits no more."""

    def __init__(self, block: Block) -> None:
        super().__init__("disk")
        self._block = block

    def close(self) -> None:
        """As Worker."""
        if isinstance(self._block, Limited):
            self._block.let_go()
        super().close()


def attach(disks: Sequence[Disk], later: Later, warn: Callable[[str], None], cleanup: ExitStack) -> tuple[list[VirtioBlock], list[Worker]]:
    """Open `disks`, in this order; `cleanup` closes them, after `later` has done its work. `warn` hears of the host's errors.

    Those that may have one wait for long do not hold up the others: each has a worker of its own, which the caller holds and closes.
    Raises what `open_given` and `read_key` raise.
    """
    made = []
    workers: list[Worker] = []
    for disk in disks:
        key = read_key(disk.key_file) if disk.key_file is not None else None
        given = disk.name if disk.served < 0 else Served(disk.name, disk.served)
        block = open_given(given, read_only=disk.read_only, form=disk.form, key=key, limits=disk.limits, header=disk.header)
        cleanup.callback(block.close)
        slow = bool(disk.address or disk.limits)
        if slow:
            workers.append(_Own(block))
        own = workers[-1] if slow else later
        made.append(VirtioBlock(block, own, read_only=disk.read_only, slow=slow, on_error=about(f"disk {disk.name}", warn)))
    return made, workers


def throw_away(path: Path) -> Overlay:
    """A layer over an image's raw disk, which is shared and never changed: what the guest writes is gone with it.

    It lies in the cache folder: where temporary files go is often memory. Raises what `Raw.open` raises, OutOfSpaceError or
    PermissionDeniedError where the folder cannot be written.
    """
    # The format is named, not probed: what such a disk begins with was once written by a guest.
    base = Raw.open(path, read_only=True)
    folder = cache_folder(os.environ) / "layers"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Overlay(base, str(folder))
    except OSError as error:
        base.close()
        raise out_of_space(error, folder) from error


def about(subject: str, warn: Callable[[str], None]) -> Callable[[str], None]:
    """What warns of a cause, given the subject."""
    return lambda cause: warn(f"{subject}: {cause}")
