"""Every format: what we write qemu-img reads, what qemu-img writes we read, and both agree that it is sound."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, NotFoundError, UnsupportedError, UsageError
from gasang.storage.images.image import Options
from gasang.storage.images.references import Trust
from gasang.storage.images.table import FOREIGN, FORMATS, by_suffix, create_image, open_image, probed
from storage.images.judge import CHECKED, THEIR_NAMES, needs_qemu_img, qemu_img, same_for_qemu, scribble, whole

VMDK = ("monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat")
OURS: list[tuple[str, Options]] = [
    ("raw", {}),
    ("qcow2", {}),
    ("vdi", {}),
    ("vdi", {"subformat": "static"}),
    ("vhd", {}),
    ("vhd", {"subformat": "fixed"}),
    ("vhdx", {}),
    ("vhdx", {"subformat": "fixed", "block_size": "1M"}),
    ("parallels", {}),
    *(("vmdk", {"subformat": kind}) for kind in VMDK),
]
THEIRS = [
    ("qcow2", "compat=0.10"),
    ("qcow2", "extended_l2=on,cluster_size=16K"),
    ("qcow2", "refcount_bits=1"),
    ("vdi", "static=on"),
    ("vdi", "static=off"),
    ("vhd", "subformat=fixed"),
    ("vhd", "subformat=dynamic,force_size=on"),
    ("vhd", "subformat=dynamic"),
    ("vhdx", "subformat=fixed"),
    ("vhdx", "block_size=1M"),
    ("parallels", "cluster_size=64K"),
    *(("vmdk", f"subformat={kind}") for kind in (*VMDK, "streamOptimized")),
    ("vmdk", "zeroed_grain=on"),
]
ODD = (5 << 20) + 3 * 512


def sound(path: Path, form: str, options: Options) -> None:
    disk = open_image(path, read_only=True, form=form)
    assert not disk.check().error_count
    disk.close()
    if form in CHECKED and "Flat" not in options.get("subformat", ""):
        qemu_img("check", "-f", THEIR_NAMES.get(form, form), path)


@needs_qemu_img
@pytest.mark.parametrize(("form", "options"), OURS)
def test_what_we_write_is_what_qemu_reads(form: str, options: Options, tmp_path: Path) -> None:
    for seed, size in enumerate((512, ODD)):
        path = tmp_path / f"disk{seed}.{form}"
        rng, model = random.Random(seed), bytearray(size)
        disk = create_image(path, form, size, options)
        assert disk.size == size
        scribble(disk, model, rng, 25)
        disk.close()
        disk = open_image(path, read_only=False, form=form)
        scribble(disk, model, rng, 15)
        assert whole(disk) == model
        disk.close()
        same_for_qemu(path, form, model)
        sound(path, form, options)


@needs_qemu_img
@pytest.mark.parametrize(("form", "options"), THEIRS)
def test_what_qemu_writes_is_what_we_read_and_go_on_with(form: str, options: str, tmp_path: Path) -> None:
    rng = random.Random(options)
    model = bytearray(ODD)
    for _ in range(6):
        at = rng.randrange(ODD - 90_000)
        model[at : at + 90_000] = rng.randbytes(90_000)
    (tmp_path / "source").write_bytes(model)
    path = tmp_path / f"disk.{form}"
    qemu_img("convert", "-f", "raw", "-O", THEIR_NAMES.get(form, form), "-o", options, tmp_path / "source", path)
    disk = open_image(path, read_only=True)
    model.extend(bytes(disk.size - ODD))
    assert disk.read(0, disk.size) == model
    assert whole(disk) == model
    disk.close()
    if "streamOptimized" not in options:
        disk = open_image(path, read_only=False)
        scribble(disk, model, rng, 15)
        disk.close()
        same_for_qemu(path, form, model)
        sound(path, form, dict([options.split(",")[0].split("=")]))


@needs_qemu_img
@pytest.mark.parametrize("form", [form for form in FORMATS if form != "raw"])
def test_a_huge_disk_takes_little(form: str, tmp_path: Path) -> None:
    size = (2 << 40) - (16 << 30)  # VHD has no more than 2040 GiB
    path = tmp_path / f"disk.{form}"
    disk = create_image(path, form, size)
    disk.write(size - 5000, b"end" * 1000)
    disk.write(1 << 40, b"middle")
    disk.close()
    assert path.stat().st_blocks * 512 < 300 << 20
    disk = open_image(path, read_only=True)
    assert disk.size == size
    assert disk.read(size - 5000, 3000) == b"end" * 1000
    assert disk.read((1 << 40) - 10, 16) == bytes(10) + b"middle"
    disk.close()
    assert f'"virtual-size": {size},' in qemu_img("info", "--output=json", "-f", THEIR_NAMES.get(form, form), path)
    read = qemu_img(
        "dd",
        "-f",
        THEIR_NAMES.get(form, form),
        "-O",
        "raw",
        "bs=1M",
        f"skip={1 << 20}",
        f"count={(1 << 20) + 1}",
        f"if={path}",
        f"of={tmp_path}/piece",
    )
    assert (tmp_path / "piece").read_bytes()[:6] == b"middle", read


@pytest.mark.parametrize(("magic", "what"), FOREIGN)
def test_foreign_files_are_named(magic: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(magic.ljust(4096, b"\0"))
    with pytest.raises(UnsupportedError, match=what):
        open_image(tmp_path / "disk", read_only=True)


def test_what_is_asked_wrongly(tmp_path: Path) -> None:
    path = tmp_path / "new"
    for form, options, size in (
        ("qcow9", {}, 512),
        ("qcow2", {"nonsense": "1"}, 512),
        ("qcow2", {"refcount_bits": "3"}, 512),
        ("qcow2", {"cluster_size": "3K"}, 512),
        ("qcow2", {"compat": "0.10", "extended_l2": "on"}, 512),
        ("qcow2", {"cluster_size": "512"}, 1 << 50),
        ("vhd", {}, 3 << 40),
        ("vhdx", {}, 65 << 40),
        ("vhdx", {"block_size": "3M"}, 512),
        ("vmdk", {}, 3 << 40),
        ("raw", {}, 0),
    ):
        with pytest.raises(UsageError):
            create_image(path, form, size, options)
    with pytest.raises(NotFoundError):
        open_image(tmp_path / "absent", read_only=True)
    with pytest.raises(BadInputError):
        open_image(tmp_path, read_only=True)


def test_suffixes_and_probes_agree(tmp_path: Path) -> None:
    for form in FORMATS:
        path = tmp_path / f"disk{FORMATS[form].suffixes[0]}"
        create_image(path, form, 1 << 20).close()
        assert by_suffix(path) is FORMATS[form] is probed(path)


def test_a_parallels_folder(tmp_path: Path) -> None:
    path = tmp_path / "disk.hdd"
    disk = create_image(path, "parallels", 3 << 20, {"layout": "folder"})
    disk.write(1 << 20, b"inside")
    disk.close()
    disk = open_image(path, read_only=False)
    assert disk.read(1 << 20, 6) == b"inside"
    disk.close()
    text = (path / "DiskDescriptor.xml").read_text()
    (path / "DiskDescriptor.xml").write_text(text.replace("disk.hds", "/etc/passwd"))
    with pytest.raises(Exception, match="was not allowed"):
        open_image(path, read_only=True, trust=Trust())


def test_the_table_says_what_each_format_says_of_itself() -> None:
    for name, form in FORMATS.items():
        assert form.name == name
        assert all(by_suffix(Path(f"disk{suffix}")) is form for suffix in form.suffixes)
