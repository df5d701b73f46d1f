"""Files that cannot be what a user says they are: one sentence, its exit code, nothing left behind."""

from __future__ import annotations

import gzip
import lzma
import os
import struct
import subprocess
import sys
from collections.abc import Iterable

import pytest
import zstandard

from gasang.images.cpio import archive
from gasang.storage.tree import Entry, Kind
from support.command import Home
from support.kernels import efi_image, elf, image

MIB = 1 << 20
INITRD_DATA = archive([Entry(path="init", kind=Kind.FILE, mode=0o755, data=bytes(range(256)) * 40)])
KERNEL_HINT = "; give a riscv64 kernel with --kernel$"
INITRD_HINT = "; give a complete one with --initrd$"
ELF_HINT = "; give a complete ELF file$"


def placed(size: int, offset: int, what: bytes) -> bytes:
    """`what` at an offset of `size` zeroes."""
    return bytes(offset) + what + bytes(size - offset - len(what))


def patched(data: bytes, offset: int, what: bytes) -> bytes:
    return data[:offset] + what + data[offset + len(what) :]


KERNELS = {
    "x86": (placed(4096, 0x202, b"HdrS"), "it is an x86 bzImage, this machine is riscv64"),
    "arm64": (placed(4096, 0x38, b"ARM\x64"), "it is an arm64 Image, this machine is riscv64"),
    "elf for x86": (elf(machine=62), "it is for x86-64, this machine is riscv64"),
    "elf for arm": (elf(machine=183), "it is for aarch64, this machine is riscv64"),
    "elf of 32 bits": (patched(elf(), 4, b"\x01"), "it is not for a 64-bit little-endian processor"),
    "big-endian elf": (patched(elf(), 5, b"\x02"), "it is not for a 64-bit little-endian processor"),
    "nothing": (b"", "it is neither a riscv64 Linux Image"),
    "text": (b"hello\n" * 99, "it is neither a riscv64 Linux Image"),
    "half a header": (image()[:40], "it is neither a riscv64 Linux Image"),
    "Image cut off": (efi_image(bytes(9000))[:5000], "the file is cut off"),
    "Image that lies": (image(size=1 << 40), "its header gives sizes that do not fit it"),
    "Image.gz cut off": (gzip.compress(image(bytes(9000)))[:-30], "its gzip data is cut off"),
    "Image.gz damaged": (patched(gzip.compress(image(os.urandom(9000))), 4000, b"hello"), "its gzip data is damaged"),
    "Image.gz of text": (gzip.compress(b"hello"), "it is neither a riscv64 Linux Image"),
    "elf cut off": (elf(bytes(900))[:500], "a segment lies beyond its end"),
    "elf header alone": (elf()[:64], "its program header table lies beyond its end"),
    "elf without code": (elf(kind=4), "the ELF file has no segment with its entry point"),
    "elf elsewhere": (elf(address=0x10000), "it is to be loaded at 0x10000"),
    "elf that lies": (elf(in_file=1 << 62), "a segment is larger in the file than in memory"),
}


BOTH_VERBS = {"x86", "elf cut off", "nothing", "cpio cut off"}


def verbs(cases: Iterable[str]) -> list[tuple[str, str]]:
    """Each case with `run`, some with `trace` too: behind these verbs is the same check."""
    return [(verb, name) for name in cases for verb in ("run", "trace") if verb == "run" or name in BOTH_VERBS]


@pytest.mark.parametrize(("verb", "name"), verbs(KERNELS))
def test_kernels(home: Home, verb: str, name: str) -> None:
    data, says = KERNELS[name]
    path = home.root / "vmlinux"
    path.write_bytes(data)
    words = ["run", "--vm", "--arch", "riscv64", "--kernel", str(path)] if verb == "run" else ["trace", str(path)]
    home.refused(*words, code=1, says=f"^gasang: kernel {path}: {says}.*{KERNEL_HINT}")


INITRDS = {
    "nothing": (b"", "it is empty"),
    "a program": (elf(), "it is neither a cpio archive nor a file system's image"),
    "cpio cut off": (INITRD_DATA[:3000], "its archive ends early"),
    "cpio damaged": (patched(INITRD_DATA, 0x2E, b"zz"), "a header in its archive is damaged"),
    "gz cut off": (gzip.compress(INITRD_DATA)[:-20], "its compressed data ends early"),
    "xz cut off": (lzma.compress(INITRD_DATA)[:-20], "its compressed data ends early"),
    "zst cut off": (zstandard.compress(INITRD_DATA)[:-20], "its compressed data ends early"),
    "gz damaged": (patched(gzip.compress(INITRD_DATA), 100, b"hello"), "its compressed data is damaged"),
    "xz damaged": (patched(lzma.compress(INITRD_DATA), 100, b"hello"), "its compressed data is damaged"),
    "gz of text": (gzip.compress(b"hello" * 100), "a header in its archive is damaged"),
    "with more behind": (INITRD_DATA + b"hello", "what stands at byte [0-9]+ is no archive"),
}


@pytest.mark.parametrize(("verb", "name"), verbs(INITRDS))
def test_initrds(home: Home, verb: str, name: str) -> None:
    data, says = INITRDS[name]
    kernel, path = home.root / "Image", home.root / "initrd.img"
    kernel.write_bytes(image())
    path.write_bytes(data)
    words = ["run", "--vm", "--kernel", str(kernel)] if verb == "run" else ["trace", str(kernel)]
    home.refused(*words, "--initrd", str(path), code=1, says=f"^gasang: initrd {path}: ({says}).*{INITRD_HINT}")


ELVES = {
    "nothing": (b"", "it is no ELF file"),
    "text": (b"hello", "it is no ELF file"),
    "four bytes": (b"\x7fELF", "its header lies beyond its end"),
    "half a header": (elf()[:40], "its header lies beyond its end"),
    "cut off": (elf(bytes(900))[:500], "a segment lies beyond its end"),
    "of 32 bits": (patched(elf(), 4, b"\x01"), "it is not for a 64-bit little-endian processor"),
    "with a table elsewhere": (patched(elf(), 32, struct.pack("<Q", 1 << 63)), "its program header table lies beyond its end"),
    "with too many sections": (patched(elf(), 58, struct.pack("<HHH", 64, 60000, 0)), "its section table lies beyond its end"),
}


@pytest.mark.parametrize("name", ELVES)
def test_programs_to_disassemble(home: Home, name: str) -> None:
    data, says = ELVES[name]
    path = home.root / "program"
    path.write_bytes(data)
    home.refused("disasm", str(path), code=1, says=f"^gasang: {path}: {says}{ELF_HINT}")


def test_a_program_for_another_processor(home: Home) -> None:
    (home.root / "program").write_bytes(elf(machine=62))
    home.refused("disasm", str(home.root / "program"), code=1, says="it is for x86-64; give an ELF file for riscv64$")


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--vm", "--kernel", "{}"),
        ("run", "--vm", "--kernel", "Image", "--initrd", "{}"),
        ("run", "--vm", "--kernel", "Image", "--disk", "{}"),
        ("trace", "./{}"),
        ("trace", "--initrd", "{}", "Image"),
        ("disasm", "{}"),
    ],
)
def test_what_is_no_file(home: Home, words: tuple[str, ...]) -> None:
    (home.root / "Image").write_bytes(image())
    with open(home.root / "large", "wb") as file:
        file.truncate(1 << 42)
    cases = {
        "nothing": (3, "there is no such file; check its path"),
        "Image/inside": (3, "there is no such file; check its path"),
        ".": (2, "it is a folder; name a file"),
        "/dev/zero": (2, "it is a device or socket; name a file"),
        "n" * 300: (2, "that is no path"),
        "large": (2, "its 4 TiB are too much; "),
    }
    for path in cases if words[:3] == ("run", "--vm", "--kernel") and len(words) == 4 else ("nothing", "/dev/zero"):
        code, says = cases[path]
        home.refused(*(word.format(path).replace(".//", "/") for word in words), code=code, says=f"{path}: {says}")


def test_too_little_memory_for_a_kernel(home: Home) -> None:
    (home.root / "Image").write_bytes(image())
    (home.root / "initrd").write_bytes(gzip.compress(archive([Entry(path="a", kind=Kind.FILE, data=bytes(200 * MIB))])))
    words = ("run", "--vm", "--kernel", "Image")
    home.refused(*words, "-m", "32M", code=2, says="32 MiB of memory: too little for a Linux kernel; give at least --memory 64M")
    says = "128 MiB of memory: too little for kernel Image; give at least --memory 208M"
    home.refused(*words, "-m", "128M", "--initrd", "initrd", code=2, says=says)


def test_a_host_without_that_much_memory(home: Home) -> None:
    (home.root / "Image").write_bytes(image())
    says = "memory|cannot allocate.*; give the machine less --memory"
    home.refused("run", "--vm", "-m", "900G", "--kernel", "Image", code=7, says=says, limits="-v 20000000")


def test_disks(home: Home) -> None:
    (home.root / "Image").write_bytes(image())
    words = ("run", "--vm", "--kernel", "Image", "--disk")
    (home.root / "odd").write_bytes(bytes(700))
    (home.root / "empty").touch()
    home.refused(*words, "odd", code=1, says="disk odd: its 700 bytes are no whole number of sectors; name a raw disk image")
    home.refused(*words, "empty", code=1, says="disk empty: its 0 bytes are no whole number of sectors")
    os.mkfifo(home.root / "fifo")
    home.refused(*words, "fifo", code=1, says="disk fifo: it is no file with a size")
    (home.root / "disk").write_bytes(bytes(1024))
    holder = "import fcntl, sys; file = open('disk'); fcntl.flock(file, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=home.root) as other:
        assert other.stdout is not None
        other.stdout.readline()
        home.refused(*words, "disk", code=4, says="disk disk: another machine has it open for writing; stop that machine first")
        other.communicate()
