"""Disks that were imported, booted as they are: with the kernel that a boot loader would start from them.

There are two ways. Without a command the disk's own initial RAM disk and command line are taken, and what then runs are its own services,
on its serial line. With a command its kernel boots with an initial RAM disk of ours, made of the disk's own modules: what our images have
(their output apart, an exit code, folders, volumes, `exec`) it has as well, and none of its services run.

What was found is kept in the cache under the disk's identity, so that it is looked for once.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from gasang.core.errors import BadInputError, NotFoundError, UnsupportedError
from gasang.core.paths import cache_folder
from gasang.core.progress import Progress
from gasang.images.build import busybox_of
from gasang.images.initramfs import BASE_APPEND, OPTIONAL_MODULES, initramfs, modules_for
from gasang.images.kernel import from_package, unwrapped
from gasang.images.modules import strip_suffix
from gasang.images.origin import Origin
from gasang.images.ready import APPEND_MAX, BootFiles
from gasang.images.spool import out_of_space
from gasang.kinds.vm.loader import kernel_architecture
from gasang.storage.bootable.bls import newest
from gasang.storage.bootable.find import DiskBoot, disk_boot
from gasang.storage.filesystems.tree import Files
from gasang.storage.filesystems.window import Window
from gasang.storage.raw import Raw
from gasang.storage.shelf import user_shelf
from gasang.storage.tree import Entry, Kind

SUITE: Final = "trixie"
"""The Debian suite whose busybox is in the initial RAM disk for a command."""
CONSOLE: Final = "console=ttyS0"
_FOLDER: Final = "imported"
_NOTE: Final = "boot.json"
_MODULE_FOLDERS: Final = ("/lib/modules", "/usr/lib/modules")
_INDEXES: Final = ("modules.builtin",)
_MODULE_MOST: Final = 64 << 20
_FOLDERS_MOST: Final = 20_000


@dataclass(frozen=True)
class Found:
    """What was found on a disk, with its files in `folder` of the cache."""

    subject: str
    disk: Path
    folder: Path
    architecture: str
    append: str
    root: str
    path: str
    """Where the kernel lies on the disk."""


def look(text: str) -> Found:
    """What the first disk imported under a name boots with.

    Raises NotFoundError where none is called so, UnsupportedError for a disk without a Linux kernel and for one of another architecture,
    BadInputError for a damaged one.
    """
    disk = user_shelf().disk(text)
    subject = f"disk {text}"
    if disk is None:
        raise NotFoundError(subject, "there is none of that name", "see gasang image ls")
    if disk.suffix != ".raw":
        raise UnsupportedError(subject, "it was imported by an earlier gasang", "import it again, or name it with --disk beside a --kernel")
    folder = _folder(disk)
    if not (folder / _NOTE).exists():
        _keep(folder, disk, subject)
    try:
        kept: dict[str, Any] = json.loads((folder / _NOTE).read_text())
        return Found(subject, disk, folder, *(str(kept[name]) for name in ("architecture", "append", "root", "path")))
    except (OSError, ValueError, KeyError) as error:
        raise BadInputError(f"note {folder / _NOTE}", f"it is damaged ({error})", "remove it") from error


def sweep() -> None:
    """Forget what was found on disks that have changed or are gone."""
    kept = user_shelf()
    known = {_folder(disk) for name in kept.names() if (disk := kept.disk(name)) is not None}
    cache = cache_folder(os.environ) / _FOLDER
    for folder in cache.iterdir() if cache.is_dir() else ():
        if folder.is_dir() and (folder / _NOTE).exists() and folder not in known:
            shutil.rmtree(folder, ignore_errors=True)


def _folder(disk: Path) -> Path:
    """Where it is kept what was found on a disk as it is now."""
    info = disk.stat()
    identity = repr((info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)).encode()
    return cache_folder(os.environ) / _FOLDER / hashlib.sha256(identity).hexdigest()[:32]


def known_architecture(text: str) -> str:
    """The architecture of the machine that imported disks are of. Raises as `look`."""
    return look(text).architecture


def boot_imported(text: str, architecture: str, progress: Progress, origin: Origin | None, *, inside: bool) -> BootFiles:
    """What boots imported disks, for a command to run `inside` or for what is on them.

    Raises as `look`, UnsupportedError where the machine is to be of another `architecture`, and what a download raises.
    """
    found = look(text)
    if found.architecture != architecture:
        cause = f"its kernel is for {found.architecture}, and the machine is to be {architecture}"
        raise UnsupportedError(found.subject, cause, f"leave --arch and --accel out, or say --arch {found.architecture}")
    kernel = found.folder / "kernel"
    if not inside:
        return BootFiles(kernel, found.folder / "initrd", found.disk, found.append, root=found.root, own=True)
    initrd = found.folder / "initrd-for-commands"
    if not initrd.exists():
        _write(initrd, _our_initrd(found, kernel.read_bytes(), progress, origin))
    return BootFiles(kernel, initrd, found.disk, BASE_APPEND, root=found.root)


def _window(disk: Path, subject: str) -> tuple[Raw, Window]:
    raw = Raw.open(disk, read_only=True)
    return raw, Window(raw.read, 0, raw.size, subject)


def _keep(folder: Path, disk: Path, subject: str) -> None:
    raw, window = _window(disk, subject)
    with closing(raw):
        found = disk_boot(window)
    kernel = unwrapped(found.kernel, f"{subject}, kernel {found.path}")
    architecture = kernel_architecture(kernel)
    if not architecture:
        what = " (it is an arm64 one)" if kernel[0x38:0x3C] == b"ARM\x64" else ""
        hint = "run it on a host of its architecture: gasang image export writes it for other hypervisors"
        raise UnsupportedError(subject, f"its kernel {found.path} is for no machine that there is here{what}", hint)
    append = _append(found)
    if len(append) > APPEND_MAX or not append.isprintable():
        raise BadInputError(
            subject, "its boot loader gives the kernel a command line that cannot be", "give one with --kernel and --append"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(folder / "kernel", kernel)
        _write(folder / "initrd", found.initrd)
        note = {"architecture": architecture, "append": append, "root": found.root, "path": found.path}
        _write(folder / _NOTE, json.dumps(note).encode())
    except OSError as error:
        raise out_of_space(error, folder) from error


def _append(found: DiskBoot) -> str:
    """The disk's own command line; the last console is the one that programs have."""
    words = [word for word in found.options.split() if not word.startswith(CONSOLE)]
    return " ".join([*words, CONSOLE])


def _write(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    fresh.write_bytes(data)
    fresh.replace(path)


def _our_initrd(found: Found, kernel: bytes, progress: Progress, origin: Origin | None) -> bytes:
    """An initial RAM disk like our images', with the modules that the disk has for its kernel."""
    raw, window = _window(found.disk, found.subject)
    with closing(raw):
        files = disk_boot(window).files
        if files is None or files.system.form != "ext4" or not found.root:
            hint = "start it without a command, and log in on its console"
            raise UnsupportedError(found.subject, "a command needs its root, which is on nothing that is read here", hint)
        with progress.step(f"reading the modules of {found.path}"):
            entries, built_in = _modules(files, found.path)
            entries.append(Entry(path=f"boot/vmlinuz-{_release(files, found.path)}", kind=Kind.FILE, data=kernel))
            wanted = () if built_in else modules_for(found.architecture)
            made = from_package(entries, found.architecture, found.subject, wanted, OPTIONAL_MODULES)
    cache = cache_folder(os.environ)
    busybox = cache / _FOLDER / f"busybox-{found.architecture}"
    if not busybox.exists():
        _write(busybox, busybox_of(SUITE, found.architecture, cache / _FOLDER, cache / _FOLDER, progress, origin))
    return initramfs(made, busybox.read_bytes())


def _release(files: Files, path: str) -> str:
    """The release of a kernel: as its file is called, else the only one that there are modules of."""
    _, _, named = path.rpartition("/")[2].partition("-")
    there = [name for folder in _MODULE_FOLDERS for name in files.names(folder)]
    return named if named in there or not there else max(there, key=newest)


def _modules(files: Files, path: str) -> tuple[list[Entry], bool]:
    """Files of the modules of a kernel, and whether there are none at all: then all is built into it."""
    release = _release(files, path)
    top = next((f"{folder}/{release}" for folder in _MODULE_FOLDERS if files.find(f"{folder}/{release}")), None)
    if top is None:
        return [], True
    return [Entry(path=name.lstrip("/"), kind=Kind.FILE, data=partial(_opened, files, name)) for name in _below(files, top)], False


def _below(files: Files, top: str) -> Iterator[str]:
    """Paths of modules, and of what lists those that are built in."""
    yield from (f"{top}/{name}" for name in _INDEXES)
    pending = [f"{top}/kernel"]
    for _ in range(_FOLDERS_MOST):
        if not pending:
            return
        folder = pending.pop()
        for name in files.names(folder):
            if strip_suffix(name) is not None:
                yield f"{folder}/{name}"
            elif "." not in name:
                pending.append(f"{folder}/{name}")


def _opened(files: Files, path: str) -> BinaryIO:
    return io.BytesIO(files.read(path, _MODULE_MOST) or b"")
