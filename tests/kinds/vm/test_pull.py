"""Making an image, where the host's disk is full while the guest writes to it."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, OutOfSpaceError
from gasang.core.progress import Silent
from gasang.core.protocols import Block
from gasang.images.build import Built
from gasang.images.reference import parse_reference
from gasang.kinds.vm import pull
from support.small_disk import small_disk


def built(folder: Path) -> Built:
    """An image to be configured, with a disk of 8 MiB that takes nothing yet."""
    disk = folder / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(8 << 20)
    return Built(folder / "kernel", folder / "initrd", disk, (("base-files", "1"),))


def guest_that_writes(count: int) -> object:
    """A stand-in for a boot: a guest that writes `count` bytes, and knows only of errors."""

    def boot(spec: object, files: object, disk: Block, *rest: object) -> int:
        with suppress(OSError):
            for offset in range(0, count, 1 << 16):
                disk.write(offset, b"x" * (1 << 16))
        return 0

    return boot


def test_a_host_that_is_full_while_packages_are_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "small", 1024) as place:
        monkeypatch.setattr(pull, "boot_guest", guest_that_writes(8 << 20))
        with pytest.raises(OutOfSpaceError, match="no space is left on its disk; free some"):
            pull._configure(built(place), parse_reference("debian:trixie"), "riscv64", Silent())


def test_a_guest_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "boot_guest", guest_that_writes(1 << 16))
    with pytest.raises(BadInputError, match=r"image debian:trixie: its packages were not configured \(code None: it said nothing\)"):
        pull._configure(built(tmp_path), parse_reference("debian:trixie"), "riscv64", Silent())


def test_another_error_of_the_disk_is_no_lack_of_room(tmp_path: Path) -> None:
    disk = pull._Watched.open(built(tmp_path).disk)
    with pytest.raises(OSError, match="outside") as caught:
        disk.write(8 << 20, b"x")
    assert caught.value.errno != errno.ENOSPC
    assert disk.full is None
    disk.close()
