"""Debian's stock kernel: the boot image inside a linux-image package, in the form a boot loader jumps into, and its modules.

A package ships the image raw, compressed with gzip, or as an EFI "zboot" program that carries it compressed
(drivers/firmware/efi/libstub/zboot-header.S); all become what the architecture's boot protocol asks for: the flat `Image` of
Documentation/arch/riscv/boot-image-header.rst, or the `bzImage` of Documentation/arch/x86/boot.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gasang.core.errors import BadInputError, NotFoundError
from gasang.images.compression import expand_bytes, sniff
from gasang.images.modules import depends_on, name_of, strip_suffix, without_signature
from gasang.storage.tree import Entry, Kind, encode

IMAGE_MAX = 512 << 20
MODULE_MAX = 64 << 20

ELF_MACHINES = {"riscv64": 243, "amd64": 62}
"""e_machine of each Debian architecture we boot (ELF gABI)."""

_BOOT_MAGICS = {"riscv64": (0x38, b"RSC\x05"), "amd64": (0x202, b"HdrS")}
_ZBOOT = (0, b"MZ\0\0zimg")


@dataclass(frozen=True, slots=True)
class KernelModule:
    """A module, expanded: `name` as modinfo has it (with underscores).

    Its signature is cut off. The package it comes from was verified, and it goes straight into our initramfs, while checking the
    signature of ext4 alone costs the guest 10⁹ instructions, twice as many as all the rest of a boot.
    """

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel ready to be booted: `modules` stand in the order they must be loaded."""

    release: str
    architecture: str
    image: bytes
    modules: tuple[KernelModule, ...]
    built_in: frozenset[str]


def from_package(entries: Iterable[Entry], architecture: str, subject: str, wanted: Sequence[str], optional: Sequence[str] = ()) -> Kernel:
    """The kernel among a linux-image package's entries, with modules: the `optional` ones it has, the `wanted`, and all they depend on.

    Raise BadInputError for an image that is damaged or of another architecture, NotFoundError where a module exists neither as a file
    nor inside the kernel.
    """
    files = {encode(entry.path).decode("utf-8", "replace"): entry for entry in entries if entry.kind is Kind.FILE}
    path = next((name for name in files if name.startswith(("boot/vmlinuz-", "boot/vmlinux-"))), None)
    if path is None:
        raise BadInputError(subject, "it holds no kernel under /boot", "choose a linux-image package")
    release = path.split("-", 1)[1]
    built_in = frozenset(_lines(files, release, "modules.builtin"))
    found = _module_files(files, release)
    modules = _load_order(found, built_in, [name for name in optional if name in found] + list(wanted), subject)
    return Kernel(release, architecture, boot_image(read(files[path]), architecture, f"{subject}, {path}"), tuple(modules), built_in)


def boot_image(data: bytes, architecture: str, subject: str) -> bytes:
    """The boot image in `data`, unwrapped from gzip, xz, zstd and EFI zboot; raise BadInputError unless it is one for `architecture`."""
    data = unwrapped(data, subject)
    offset, magic = _BOOT_MAGICS[architecture]
    if data[offset : offset + len(magic)] != magic:
        raise BadInputError(subject, f"it is no boot image for {architecture}{_what_instead(data)}", "give a kernel of that architecture")
    return data


def unwrapped(data: bytes, subject: str) -> bytes:
    """What a kernel's file is, without gzip, xz, zstd and EFI zboot around it. Raises BadInputError where they are damaged."""
    for _ in range(3):
        if sniff(data[:6]):
            data = expand_bytes(data, subject, IMAGE_MAX)
        elif data.startswith(_ZBOOT[1]):
            data = _zboot_payload(data, subject)
        else:
            break
    return data


def _what_instead(data: bytes) -> str:
    found = next((name for name, (offset, magic) in _BOOT_MAGICS.items() if data[offset : offset + len(magic)] == magic), None)
    if found is not None:
        return f" but one for {found}"
    return " but an arm64 one" if data[0x38:0x3C] == b"ARM\x64" else ""


def _zboot_payload(data: bytes, subject: str) -> bytes:
    if len(data) < 64:
        raise BadInputError(subject, "its EFI header is cut short", "delete it and pull again")
    offset, size = struct.unpack_from("<II", data, 8)
    if offset + size > len(data):
        raise BadInputError(subject, "its compressed kernel lies outside the file", "delete it and pull again")
    return expand_bytes(data[offset : offset + size], subject, IMAGE_MAX)


def read(entry: Entry) -> bytes:
    """All of an entry's content."""
    if isinstance(entry.data, bytes):
        return entry.data
    with entry.data() as stream:
        return stream.read()


def _lines(files: dict[str, Entry], release: str, name: str) -> list[str]:
    """The modules listed in one of the package's index files, by name."""
    for root in ("usr/lib/modules", "lib/modules"):
        entry = files.get(f"{root}/{release}/{name}")
        if entry is not None:
            return [name_of(line) for line in read(entry).decode("utf-8", "replace").split()]
    return []


def _module_files(files: dict[str, Entry], release: str) -> dict[str, Entry]:
    marker = f"lib/modules/{release}/"
    return {name_of(path): entry for path, entry in files.items() if marker in path and strip_suffix(path) is not None}


def _load_order(files: dict[str, Entry], built_in: frozenset[str], wanted: Sequence[str], subject: str) -> list[KernelModule]:
    """Depth first, so that each module comes after those it depends on."""
    order: dict[str, KernelModule] = {}
    pending = [(name, False) for name in reversed(wanted)]
    loaded: dict[str, bytes] = {}
    while pending:
        name, ready = pending.pop()
        if name in order or name in built_in:
            continue
        if ready:
            order[name] = KernelModule(name, without_signature(loaded[name]))
            continue
        if name in loaded:
            raise BadInputError(subject, f"its module {name} depends on itself", "report it to the kernel's packagers")
        if name not in files:
            raise NotFoundError(f"kernel module {name}", f"{subject} has it neither as a file nor built in", "choose another kernel")
        loaded[name] = expand_bytes(read(files[name]), f"{subject}, module {name}", MODULE_MAX)
        needs = depends_on(loaded[name], f"{subject}, module {name}")
        pending.append((name, True))
        pending += [(need, False) for need in reversed(needs) if need in files or need in built_in]
    return list(order.values())
