"""Kernels: every wrapping is taken off, foreign ones are told, modules come in an order that loads."""

from __future__ import annotations

import gzip
import lzma

import pytest
import zstandard

from gasang.core.errors import BadInputError, NotFoundError
from gasang.images.kernel import Kernel, boot_image, from_package
from gasang.storage.tree import Entry, Kind
from support.kernel_parts import module, riscv_image, zboot

IMAGE = riscv_image()
X86 = bytes(0x202) + b"HdrS" + bytes(100)


def package(**modules: bytes) -> list[Entry]:
    """The entries of a linux-image package; a module by name and .modinfo."""
    files = {
        "boot/vmlinux-6.1-x": IMAGE,
        "usr/lib/modules/6.1-x/modules.builtin": b"kernel/lib/built-in.ko\n",
        **{f"usr/lib/modules/6.1-x/kernel/{name.replace('_', '-')}.ko.xz": lzma.compress(module(info)) for name, info in modules.items()},
    }
    return [Entry(path="boot", kind=Kind.DIRECTORY)] + [Entry(path=path, kind=Kind.FILE, data=data) for path, data in files.items()]


def taken(entries: list[Entry], *wanted: str, optional: tuple[str, ...] = ()) -> Kernel:
    return from_package(entries, "riscv64", "package x", wanted, optional)


@pytest.mark.parametrize(
    "wrapped",
    [
        IMAGE,
        gzip.compress(IMAGE),
        lzma.compress(IMAGE),
        zstandard.compress(IMAGE),
        zboot(gzip.compress(IMAGE)),
        zboot(zstandard.compress(IMAGE)),
    ],
)
def test_every_wrapping_comes_off(wrapped: bytes) -> None:
    assert boot_image(wrapped, "riscv64", "x") == IMAGE


@pytest.mark.parametrize(
    ("data", "architecture", "message"),
    [
        (X86, "riscv64", "no boot image for riscv64 but one for amd64"),
        (IMAGE, "amd64", "no boot image for amd64 but one for riscv64"),
        (bytes(0x38) + b"ARM\x64", "riscv64", "but an arm64 one"),
        (b"", "riscv64", "no boot image for riscv64; give"),
        (b"\x7fELF" + bytes(100), "riscv64", "no boot image"),
        (gzip.compress(IMAGE)[:-9], "riscv64", "ends early"),
        (zboot(b"")[:30], "riscv64", "EFI header is cut short"),
        (zboot(gzip.compress(IMAGE))[:-5], "riscv64", "lies outside the file"),
        (zboot(b"no gzip at all"), "riscv64", "no boot image"),
    ],
)
def test_what_is_no_kernel_is_told(data: bytes, architecture: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        boot_image(data, architecture, "kernel x")


def test_an_x86_kernel_stays_as_it_is() -> None:
    assert boot_image(X86, "amd64", "x") == X86


def test_modules_come_after_what_they_need() -> None:
    kernel = taken(
        package(ext4=b"depends=jbd2,crc16,built_in\0", jbd2=b"depends=low\0", crc16=b"depends=\0", low=b"depends=\0", unused=b"depends=\0"),
        "ext4",
        "built_in",
        "low",
    )
    assert [entry.name for entry in kernel.modules] == ["low", "jbd2", "crc16", "ext4"]
    assert kernel.modules[0].data == module(b"depends=\0")
    assert (kernel.release, kernel.image, kernel.built_in) == ("6.1-x", IMAGE, frozenset({"built_in"}))


def test_optional_modules_come_first_where_they_exist() -> None:
    kernel = taken(package(a_b=b"depends=\0", late=b"depends=\0"), "late", optional=("a_b", "missing"))
    assert [entry.name for entry in kernel.modules] == ["a_b", "late"]


def test_a_soft_dependency_on_an_alias_is_no_obstacle() -> None:
    assert [entry.name for entry in taken(package(a=b"softdep=pre: crypto-crc32c\0"), "a").modules] == ["a"]


def test_a_missing_module_is_told() -> None:
    with pytest.raises(NotFoundError, match="kernel module virtio_blk: package x has it neither as a file nor built in"):
        taken(package(), "virtio_blk")


def test_a_circle_is_told() -> None:
    with pytest.raises(BadInputError, match="module a depends on itself"):
        taken(package(a=b"depends=b\0", b=b"depends=a\0"), "a")


def test_a_package_without_a_kernel_is_told() -> None:
    with pytest.raises(BadInputError, match="package x: it holds no kernel under /boot"):
        taken([], "a")
