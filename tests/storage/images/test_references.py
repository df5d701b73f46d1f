"""Files that images name: followed beside the image and where the user lets it, nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, PermissionDeniedError, UnsupportedError
from gasang.storage.images import vhd
from gasang.storage.images.references import DEPTH_MAX, Trust
from gasang.storage.images.table import create_image, describe, open_image

SIZE = 1 << 20


def over(path: Path, backing: str, form: str = "raw", size: int = SIZE) -> None:
    """An image of qcow2 that names `backing`, which need not be there yet."""
    real = (path.parent / backing).exists()
    if not real:
        (path.parent / backing).write_bytes(bytes(SIZE))
    create_image(path, "qcow2", size, {"backing_file": backing, "backing_fmt": form}).close()
    if not real:
        (path.parent / backing).unlink()


def test_a_file_beside_the_image_is_followed(tmp_path: Path) -> None:
    (tmp_path / "base").write_bytes(b"base" * (SIZE // 4))
    over(tmp_path / "top.qcow2", "base")
    disk = open_image(tmp_path / "top.qcow2", read_only=False)
    assert disk.read(0, 8) == b"basebase"
    disk.write(2, b"XX")
    assert disk.read(0, 8) == b"baXXbase"
    disk.discard(0, SIZE)
    assert disk.read(0, 8) == bytes(8)
    disk.close()
    assert (tmp_path / "base").read_bytes() == b"base" * (SIZE // 4)


def test_a_secret_elsewhere_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"key!" * 1024)
    (folder / "link").symlink_to(tmp_path / "secret")
    for name in (str(tmp_path / "secret"), "../secret", "link"):
        over(folder / "top.qcow2", name)
        with pytest.raises(PermissionDeniedError, match="was not allowed"):
            open_image(folder / "top.qcow2", read_only=True)
        facts = describe(folder / "top.qcow2", "", None)
        assert facts["backing"] == name
        for also in (tmp_path / "secret", tmp_path):
            disk = open_image(folder / "top.qcow2", read_only=True, trust=Trust(also=(also,)))
            assert disk.read(0, 4) == b"key!"
            disk.close()


def test_what_a_guest_wrote_into_its_raw_disk_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"key!" * 1024)
    over(tmp_path / "disk.img", "secret")
    with pytest.raises(PermissionDeniedError):
        open_image(tmp_path / "disk.img", read_only=True)
    (tmp_path / "disk.img").write_bytes(b'# Disk DescriptorFile\nRW 8 FLAT "secret" 0\n'.ljust(4096, b"\0"))
    with pytest.raises(PermissionDeniedError):
        open_image(tmp_path / "disk.img", read_only=True)
    disk = open_image(tmp_path / "disk.img", read_only=True, form="vmdk")  # the user says so
    assert disk.read(0, 4) == b"key!"
    disk.close()


def test_what_a_guest_wrote_where_a_footer_was_leads_nowhere(tmp_path: Path) -> None:
    """The power went while a VHD grew: its guest's bytes end the file, and say that there is a parent."""
    (tmp_path / "secret").write_bytes(b"key!" * 1024)
    path = tmp_path / "disk.vhd"
    disk = create_image(path, "vhd", 4 << 20, {})
    disk.write((2 << 20) - 512, vhd.make_footer(vhd.Footer(vhd.DIFFERENCING, 4 << 20, 512, bytes(16))))
    disk.close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 512)
    disk = open_image(path, read_only=True)
    assert disk.about()["subformat"] == "dynamic"
    assert disk.read((2 << 20) - 512, 8) == vhd.COOKIE
    disk.close()


def test_loops_and_endless_chains(tmp_path: Path) -> None:
    over(tmp_path / "a.qcow2", "b.qcow2", "qcow2" if (tmp_path / "b.qcow2").exists() else "raw")
    head = (tmp_path / "a.qcow2").read_bytes()
    (tmp_path / "a.qcow2").write_bytes(head.replace(b"b.qcow2", b"a.qcow2").replace(b"\0\0\0\3raw", b"\0\0\0\0raw"))
    with pytest.raises(BadInputError, match="loop"):
        open_image(tmp_path / "a.qcow2", read_only=True)
    (tmp_path / "0.qcow2").write_bytes(bytes(SIZE))
    chain = Trust(chain=tuple(Path(f"/{number}") for number in range(DEPTH_MAX)))
    with pytest.raises(BadInputError, match="stand on one another"):
        chain.below(tmp_path / "0.qcow2")


def test_names_that_are_no_paths(tmp_path: Path) -> None:
    for name in ("nbd://host/x", "json:{}", "", "\0"):
        with pytest.raises(UnsupportedError):
            Trust().follow(tmp_path / "image", name)
