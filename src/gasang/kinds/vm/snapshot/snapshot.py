"""A snapshot that is there: what it is of, whether it is sound, and a machine made of it.

What is believed, and when: the document and the index of memory are verified by their digests at each use; chunks of memory and files of
disks, which are large, once in each boot of the host (`stamp`), by reading all of them.
"""

from __future__ import annotations

import binascii
import hashlib
import os
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gasang.core.errors import BadInputError, GasangError, NotFoundError, UnsupportedError
from gasang.core.paths import cache_folder
from gasang.core.protocols import Block, CharacterSink
from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.worker import Holdable
from gasang.kinds.vm.platforms import ARCHITECTURES
from gasang.kinds.vm.snapshot import disks, document, known_code, stamp, working_set
from gasang.kinds.vm.snapshot.document import AGAIN, DOCUMENT_MAX, DiskRecord, Document
from gasang.kinds.vm.snapshot.folder import DISK, DOCUMENT, INDEX, MEMORY
from gasang.kinds.vm.snapshot.identity import Identity
from gasang.kinds.vm.snapshot.index import Place, decode_index
from gasang.kinds.vm.snapshot.memory import chunk_count, map_memory, verify_memory

if TYPE_CHECKING:
    from gasang.kinds.vm.base import AnyMachine

_INDEX_MAX: Final = 1 << 30
_AHEAD: Final = 16 << 20
"""Bytes copied at most for one that may never be wanted."""
_SENSELESS: Final = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, struct.error, binascii.Error)
"""What a device's `load` raises for a state that is not of its kind: it is sound, but another build's."""


@dataclass(frozen=True)
class Wiring:
    """What a restored machine is connected to: the same kinds of devices in the same order as the one that was kept."""

    serial: CharacterSink
    virtio: Sequence[VirtioDevice] = ()
    workers: Sequence[Holdable] = ()
    warn: Callable[[str], None] = field(default=lambda sentence: None)
    identity: Identity | None = None


class Snapshot:
    """One snapshot, in the folder `path`."""

    def __init__(self, path: Path, digest: str, content: Document) -> None:
        self.path = path
        self.digest = digest
        self.document = content
        self._subject = f"snapshot {path.name}"

    @classmethod
    def open(cls, path: Path) -> Snapshot:
        """The snapshot in a folder. Raises NotFoundError where none is, BadInputError for one that is damaged or of another version."""
        subject = f"snapshot {path.name}"
        content = _read(path / DOCUMENT, DOCUMENT_MAX, subject)
        found = document.decode(content, subject)
        if found.architecture not in ARCHITECTURES:
            known = " and ".join(ARCHITECTURES)
            raise UnsupportedError(subject, f"it is of a machine of {found.architecture}, these are of {known}", "restore it there")
        return cls(path, document.digest_of(content), found)

    def layers(self) -> list[Path]:
        """The files of its memory."""
        return [self.path / f"{MEMORY}{name}" for name in self.document.memory.layers]

    def index(self) -> dict[int, Place]:
        """Where the chunks of its memory are. Raises BadInputError for a damaged one."""
        record = self.document.memory
        content = _read(self.path / INDEX, _INDEX_MAX, self._subject)
        if hashlib.sha256(content).hexdigest() != record.index:
            raise BadInputError(self._subject, "its index of memory is damaged (the digest is another)", AGAIN)
        return decode_index(content, chunk_count(record.size), len(record.layers), self._subject)

    def verify(self) -> None:
        """Read everything and compare it with its digests. Raises BadInputError for what is damaged, cut off or missing."""
        begun = stamp.now()
        record = self.document.memory
        try:
            verify_memory(record.size, self.index(), self.layers(), self._subject)
            for name in self._disk_files():
                if disks.file_digest(self.path / f"{DISK}{name}") != name:
                    raise BadInputError(self._subject, "a disk's content is damaged (the digest is another)", AGAIN)
        except OSError as error:
            raise BadInputError(self._subject, f"its files cannot be read ({error.strerror})", AGAIN) from error
        stamp.note_verified(self.path, self._files(), begun)

    def check(self) -> None:
        """Verify it unless that was done since the host was started; the disks it is based on, and its processor, are looked at.

        Raises as `verify` does, UnsupportedError for a machine that no gasang here has.
        """
        from gasang.kinds.vm.platforms import platform_of

        platform_of(self.document.architecture).check_board(self.document.board, self._subject)
        if not stamp.is_verified(self.path, self._files()):
            self.verify()
        disks.check(self.document.disks, self._subject)

    def own_disks(self) -> list[DiskRecord]:
        """Its disks but volumes, which a machine has besides."""
        return [record for record in self.document.disks if not record.volume]

    def _disk_files(self) -> list[str]:
        return sorted({name for disk in self.document.disks for name in disk.files()})

    def _files(self) -> list[Path]:
        return [self.path / INDEX, *self.layers(), *(self.path / f"{DISK}{name}" for name in self._disk_files())]

    def open_disks(self, folder: Path | None = None) -> list[Block]:
        """Its disks but volumes, in the order of the machine's, each with a throw-away layer in `folder` (default: in the cache).

        Verify it before (`check`). Raises NotFoundError or BadInputError where one cannot be opened, OSError.
        """
        layers = folder or cache_folder(os.environ) / "layers"
        opened: list[Block] = []
        try:
            opened.extend(disks.open_disk(record, self.path, layers) for record in self.own_disks())
        except BaseException:
            for block in opened:
                block.close()
            raise
        return opened

    def restore(self, wiring: Wiring) -> AnyMachine:
        """A new machine in the snapshot's state, which `start` lets go on where that one stood.

        Raises BadInputError for a damaged snapshot, or one of a machine that was made of other things, OutOfSpaceError where the host
        cannot map its memory, UnsupportedError or PermissionDeniedError where this host does not run such machines.
        """
        from gasang.kinds.vm.parts import Parts
        from gasang.kinds.vm.platforms import platform_of

        self.check()
        platform = platform_of(self.document.architecture)
        harts, record = self.document.board.get("harts"), self.document.memory
        if type(harts) is not int:
            raise BadInputError(self._subject, "it does not tell how many processors it has", AGAIN)
        vm = platform.make(Parts(harts, record.size, None, b"", "", wiring.serial, wiring.virtio, wiring.warn, wiring.workers))
        try:
            self._fill(vm)
            vm.become(wiring.identity or Identity.fresh())
        except BaseException:
            vm.close()
            raise
        vm.last_snapshot, vm.card = self, self.document.card
        self._learn(vm)
        return vm

    def _fill(self, vm: AnyMachine) -> None:
        if (ours := vm.board.document()) != self.document.board or self.document.memory.base != vm.machine.ram.base:
            different = ", ".join(sorted(name for name in ours if ours[name] != self.document.board.get(name))) or "where its memory is"
            raise BadInputError(self._subject, f"it is of a machine made of other things (different in {different})", "give it the same")
        try:
            map_memory(vm.machine.ram.memory, self.index(), self.layers())
            working_set.fetch(self.path, vm.machine.ram.memory)
            vm.load(self.document.state)
        except OSError as error:
            raise BadInputError(self._subject, f"its files cannot be read ({error.strerror})", AGAIN) from error
        except _SENSELESS as error:
            cause = f"it has a state that no device here has had ({type(error).__name__}: {error})"
            raise BadInputError(self._subject, cause, "use the gasang that made it") from error

    def copy_ahead(self, vm: AnyMachine) -> None:
        """Have copies of the pages that a machine restored from this one writes first, in a fork that has not begun."""
        working_set.fetch(self.path, vm.machine.ram.memory, _AHEAD)

    def make_ready(self, vm: AnyMachine) -> None:
        """Have done what a machine restored from this one, which has not begun, would do first."""
        vm.decode_again(known_code.noted(self.path))

    def _learn(self, vm: AnyMachine) -> None:
        """Note which pages and which code are needed first, if nobody has yet."""
        if not working_set.is_noted(self.path):

            def learn() -> None:
                if vm.ended.wait(known_code.MOMENT):
                    return
                known: dict[int, dict[int, int]] = {}
                vm.note_code(known)
                known_code.note(self.path, known)
                working_set.note(self.path, vm.machine.ram.memory)

            vm.beside(threading.Thread(target=learn, name="working set", daemon=True))


def _read(path: Path, most: int, subject: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except FileNotFoundError as error:
        raise NotFoundError(subject, f"there is no {path.name} in {path.parent}", "see which there are") from error
    except OSError as error:
        raise GasangError(subject, f"{path.name} cannot be read ({error.strerror})", "check the path") from error
    if len(content) > most:
        raise BadInputError(subject, f"its {path.name} is too large", AGAIN)
    return content
