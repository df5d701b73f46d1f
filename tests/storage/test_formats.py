"""The table of formats: probing, naming, and telling what a foreign file is."""

from __future__ import annotations

from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, NotFoundError, UnsupportedError, UsageError
from gasang.storage.formats import FOREIGN, FORMATS, open_disk

SIZE = 4096


def test_a_raw_disk_is_taken_for_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"\xeb\x63\x90" + bytes(SIZE - 3))
    for form in ("", "raw"):
        disk = open_disk(tmp_path / "disk", form=form)
        assert disk.size == SIZE
        disk.close()


@pytest.mark.parametrize(("magic", "what"), FOREIGN)
def test_foreign_formats_are_named(magic: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(magic.ljust(SIZE, b"\0"))
    with pytest.raises(UnsupportedError, match=what):
        open_disk(tmp_path / "disk")
    disk = open_disk(tmp_path / "disk", form="raw")  # the user insists
    assert disk.read(0, len(magic)) == magic
    disk.close()


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        open_disk(tmp_path / "absent")
    with pytest.raises(BadInputError):
        open_disk(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInputError):
        open_disk(tmp_path / "file" / "below")
    with pytest.raises(UsageError, match="known are: raw"):
        open_disk(tmp_path / "file", form="qcow9")


def test_read_only_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(SIZE))
    disks = [open_disk(tmp_path / "disk", read_only=True) for _ in range(2)]
    with pytest.raises(OSError, match="reading only"):
        disks[0].write(0, b"x")
    for disk in disks:
        disk.close()


def test_no_two_formats_claim_a_file() -> None:
    for head in (b"", bytes(512), *(magic.ljust(512, b"\0") for magic, _ in FOREIGN)):
        assert sum(form.probe(head) for form in FORMATS.values()) <= 1
