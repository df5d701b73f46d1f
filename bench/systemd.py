"""A Debian with systemd on a disk: made of packages once, configured inside a machine, then booted to its login prompt by either peer."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.peers import Peer, environment
from bench.processes import MachineError, run

from gasang.core.progress import Progress
from gasang.images.bootstrap import System, bootstrap
from gasang.images.build import build_boot, write_disk
from gasang.images.cpio import archive
from gasang.images.initramfs import GuestSettings, overlay
from gasang.images.resolve import resolve
from gasang.images.spool import Spool
from gasang.images.suite import ADDED, fetch_suite
from gasang.storage.tree import Entry, Kind
from guests.build import cache_directory

SUITE, ARCHITECTURE = "trixie", "riscv64"
PACKAGES = ("systemd-sysv", "udev", "dbus", "libpam-systemd")
"""What is on the disk beside the smallest system."""
DISK_SIZE = 1 << 31
CONFIGURING = 1800.0
"""Seconds in which the packages are configured, in a machine."""
_CONFIGURED = "gasang-exit: 0"
_INIT = """\
#!/bin/sh
PATH=/bin
busybox mount -a
while read -r module; do insmod "/modules/$module.ko"; done </modules/order
mount -t ext4 -o rw,noatime /dev/vda /root || poweroff -f
busybox umount /proc /sys
busybox mount --move /dev /root/dev
exec busybox switch_root /root /sbin/init
"""


@dataclass(frozen=True)
class Installed:
    """What is booted; `disk` is never written to."""

    kernel: Path
    initrd: Path
    disk: Path

    def copied(self, folder: Path) -> Path:
        """A disk of one's own, all of it stored: else the guest's first flush would wait for the copy."""
        copy = folder / "disk.raw"
        subprocess.run(["cp", "--sparse=always", str(self.disk), str(copy)], check=True)
        subprocess.run(["sync", str(copy)], check=True)
        return copy


def installed(ours: Peer, progress: Progress) -> Installed:
    """The system, made at the first call. Raises what images.build.build_debian raises, and MachineError where it does not configure."""
    kept = cache_directory().parent / "systemd"
    found = Installed(kept / "kernel", kept / "initrd", kept / "disk.raw")
    if found.disk.exists():
        return found
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept) as folder:
        made = _made(Path(folder), kept, progress)
        _configure(ours, made)
        started = archive([Entry(path="init", kind=Kind.FILE, mode=0o755, data=_INIT.encode())])
        made.initrd.write_bytes(made.initrd.read_bytes() + started)
        for name in ("kernel", "initrd", "disk.raw"):
            (Path(folder) / name).replace(kept / name)
    return found


def _made(folder: Path, cache: Path, progress: Progress) -> Installed:
    """Everything unpacked, nothing configured."""
    kernel, initrd = build_boot(SUITE, ARCHITECTURE, cache / "boot", folder, progress)
    suite = fetch_suite(SUITE, ARCHITECTURE, cache, progress)
    with suite.alone(), Spool(folder) as spool:
        index = suite.index(progress)
        packages = resolve(index, [*index.selected(frozenset({"required"})), *ADDED, *PACKAGES])
        files = suite.download(packages, progress)
        system = System(suite.name, suite.architecture, suite.mirror.base)
        entries = bootstrap(system, [files[package.name] for package in packages], spool)
        write_disk(folder / "disk.raw", entries, SUITE, progress, DISK_SIZE)
    return Installed(kernel, initrd, folder / "disk.raw")


def _configure(ours: Peer, made: Installed) -> None:
    with tempfile.TemporaryDirectory() as folder:
        initrd = Path(folder) / "initrd"
        initrd.write_bytes(made.initrd.read_bytes() + overlay(GuestSettings(mode="configure", ports=False)))
        command = ours.boot(made.kernel, initrd, "console=ttyS0 quiet", disk=made.disk)
        said = run(command, CONFIGURING, environment()).output
        if _CONFIGURED not in said:
            raise MachineError("the packages did not configure:\n" + "\n".join(said.splitlines()[-20:]))
