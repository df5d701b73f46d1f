"""The kernel that a disk would start: what its boot loader's configuration names by default, or the newest there is.

Looked for in this order, in every file system that can be read: GRUB's configuration, entries of the Boot Loader Specification,
extlinux.conf; at last kernels by their names. What is found first and has its kernel on the disk is it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gasang.core.errors import NotFoundError, UnsupportedError
from gasang.storage.bootable import bls, extlinux, grub
from gasang.storage.bootable.entry import CONFIGURATION_MOST, ENTRIES_MOST, Entry, Menu
from gasang.storage.filesystems.probe import Volume, volumes
from gasang.storage.filesystems.tree import Files
from gasang.storage.filesystems.window import Window

KERNEL_MOST: Final = 512 << 20
INITRD_MOST: Final = 512 << 20
_GRUB: Final = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/grub/grub.cfg", "/grub2/grub.cfg")
_BLS: Final = ("/loader", "/boot/loader")
_EXTLINUX: Final = (
    "/boot/extlinux/extlinux.conf",
    "/extlinux/extlinux.conf",
    "/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
    "/syslinux.cfg",
)
_KERNEL_NAMES: Final = re.compile(r"(?:vmlinuz|vmlinux|Image|kernel)(?:-(.+))?")
_INITRD_NAMES: Final = ("initrd.img-{}", "initramfs-{}.img", "initrd-{}", "initramfs-{}")
_ROOT_SIGNS: Final = ("/etc/os-release", "/usr/lib/os-release", "/etc/fstab", "/sbin/init")
_OTHERS_NAME: Final = re.compile(r"/dev/(?:(?:[shv]d|xvd)[a-z]|(?:nvme\d+n|mmcblk)\d+p?)(\d*)")
"""What the first disk is called by other hypervisors' kernels, and the partition of it."""
_DISK: Final = "/dev/vda"


@dataclass(frozen=True, slots=True)
class DiskBoot:
    """What a disk boots with. `root` is the device of its root for a kernel here, "" where that is not known."""

    kernel: bytes
    initrd: bytes
    options: str
    title: str
    path: str
    root: str
    files: Files | None
    """The root's files."""


def disk_boot(disk: Window) -> DiskBoot:
    """What the disk in a window boots with. Raises UnsupportedError where it holds no Linux kernel that can be reached, BadInputError."""
    found = volumes(disk)
    readable = [(volume, volume.files) for volume in found if volume.files is not None]
    for volume, entry in _entries(readable):
        holder = next((files for _, files in readable if entry.uuid and files.system.uuid.lower() == entry.uuid), None) or volume
        boot = _loaded(holder, entry, readable)
        if boot is not None:
            return boot
    raise _nothing(disk, found)


def _entries(readable: list[tuple[Volume, Files]]) -> Iterator[tuple[Files, Entry]]:
    """Every entry that there is, the likeliest first, with the file system of its configuration."""
    for look in (_of_grub, _of_bls, _of_extlinux, _of_names):
        for _, files in readable:
            for entry in look(files):
                yield files, entry


def _of_grub(files: Files) -> Iterator[Entry]:
    for path in _GRUB:
        data = files.read(path, CONFIGURATION_MOST)
        if data is None:
            continue
        environment = grub.environment_block(files.read(f"{posixpath.dirname(path)}/grubenv", CONFIGURATION_MOST) or b"")
        menu = grub.menu(data.decode("utf-8", "replace"), environment)
        if menu.more:
            yield from _of_bls(files, menu, environment)
        yield from menu.entries


def _of_bls(files: Files, menu: Menu | None = None, environment: dict[str, str] | None = None) -> Iterator[Entry]:
    for folder in _BLS:
        variables = {**(environment or {}), **dict(menu.variables if menu else ())}
        found: dict[str, tuple[Entry, tuple[object, ...]]] = {}
        for name in files.names(f"{folder}/entries")[:ENTRIES_MOST]:
            data = files.read(f"{folder}/entries/{name}", CONFIGURATION_MOST) if name.endswith(".conf") else None
            parsed = bls.parse(data.decode("utf-8", "replace"), variables) if data else None
            if parsed is not None:
                found[name] = parsed
        names = sorted(found, key=lambda name: (found[name][1], name), reverse=True)
        if not names:
            continue
        loader = (files.read(f"{folder}/loader.conf", CONFIGURATION_MOST) or b"").decode("utf-8", "replace")
        chosen = f"{menu.wanted}.conf" if menu is not None and f"{menu.wanted}.conf" in found else bls.default(loader, names)
        yield from (found[name][0] for name in (chosen, *(name for name in names if name != chosen)))


def _of_extlinux(files: Files) -> Iterator[Entry]:
    for path in _EXTLINUX:
        data = files.read(path, CONFIGURATION_MOST)
        if data is not None:
            for entry in extlinux.menu(data.decode("utf-8", "replace")).entries:
                folder = posixpath.dirname(path)
                yield Entry(
                    entry.title,
                    posixpath.join(folder, entry.kernel),
                    tuple(posixpath.join(folder, each) for each in entry.initrds),
                    entry.options,
                )


def _of_names(files: Files) -> Iterator[Entry]:
    """Kernels by their names, the newest first, each with the initrd that is called so."""
    for folder in ("/boot", "/"):
        names = set(files.names(folder))
        kernels = [(name, match[1] or "") for name in sorted(names) if (match := _KERNEL_NAMES.fullmatch(name))]
        for name, version in sorted(kernels, key=lambda each: (bool(each[1]), bls.newest(each[1])), reverse=True):
            if "rescue" in version:
                continue
            initrds = (form.format(version) for form in _INITRD_NAMES) if version else ("initrd.img", "initrd", "initramfs")
            initrd = next((each for each in initrds if each in names), None)
            yield Entry(name, posixpath.join(folder, name), (posixpath.join(folder, initrd),) if initrd else ())


def _loaded(files: Files, entry: Entry, readable: list[tuple[Volume, Files]]) -> DiskBoot | None:
    """What an entry names, None where the disk has no such kernel."""
    kernel = files.read(entry.kernel, KERNEL_MOST)
    if not kernel:
        return None
    parts = []
    for path in entry.initrds:
        data = files.read(path, INITRD_MOST)
        if data is None:
            raise NotFoundError(
                f"initial RAM disk {path}",
                f"the boot entry {entry.title!r} names it and the disk has it not",
                "name one with --kernel and --initrd",
            )
        parts.append(data.ljust(-(-len(data) // 4) * 4, b"\0"))
    root, holder = _root(entry.options, readable)
    options = _options(entry.options, root, has_initrd=bool(parts))
    return DiskBoot(kernel, b"".join(parts), options, entry.title, entry.kernel, root, holder)


def _root(options: str, readable: list[tuple[Volume, Files]]) -> tuple[str, Files | None]:
    """The device and files of the root that a command line names; of one that names none, what looks like a root."""
    named = next((word.removeprefix("root=").strip('"') for word in reversed(options.split()) if word.startswith("root=")), "")
    for volume, files in readable:
        number, system = volume.partition.number, files.system
        names = {f"uuid={system.uuid}", f"partuuid={volume.partition.uuid}", *([f"label={system.label}"] if system.label else [])}
        if named.lower() in {name.lower() for name in names} | {f"/dev/disk/by-{name.replace('=', '/', 1)}".lower() for name in names}:
            return _device(number), files
        if (match := _OTHERS_NAME.fullmatch(named)) and int(match[1] or 0) == number:
            return _device(number), files
    if named:
        return "", None
    for volume, files in readable:
        if any(files.find(sign) for sign in _ROOT_SIGNS):
            return _device(volume.partition.number), files
    return "", None


def _device(number: int) -> str:
    return f"{_DISK}{number or ''}"


def _options(options: str, root: str, *, has_initrd: bool) -> str:
    """A command line with a root that a kernel here finds; UUIDs stay where there is an initrd to look for them."""
    words = options.split()
    named = [word for word in words if word.startswith("root=")]
    if root and (not named or _OTHERS_NAME.fullmatch(named[-1].removeprefix("root=")) or (not has_initrd and "PARTUUID=" not in named[-1])):
        words = [word for word in words if word not in named] + [f"root={root}"]
    return " ".join(words)


def _nothing(disk: Window, found: list[Volume]) -> UnsupportedError:
    """The error about a disk without a kernel: what it seems to be, and what it needs."""
    whats = {volume.what for volume in found}
    windows = any(files.find("/EFI/Microsoft/Boot/bootmgfw.efi") is not None for volume in found if (files := volume.files) is not None)
    if windows or whats & {"NTFS", "BitLocker"}:
        cause = "it holds Windows, which a PC's firmware starts (BIOS or UEFI); machines here start Linux kernels themselves"
        return UnsupportedError(
            disk.subject, cause, "run it where there is such firmware: gasang image export writes it for VirtualBox and others"
        )
    others = sorted(what for what in whats if what and what not in ("vfat", "ext4"))
    cause = "no Linux kernel is found on it" + (f"; not read here: {', '.join(others)}" if others else "")
    return UnsupportedError(disk.subject, cause, "give its kernel: gasang run --vm --kernel FILE --initrd FILE --append root=… --disk NAME")
