"""A Debian system from packages, without root and without running any of it: what debootstrap's first stage leaves, as entries.

All packages are unpacked; none is configured. `guest/configure` does that: in a container, or inside the machine at its first boot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gasang.images.deb import read_control, read_data
from gasang.images.dpkg import Unpacked, database
from gasang.images.root import Root
from gasang.images.spool import Spool
from gasang.storage.tree import Entry, Kind

SECURITY_MIRROR = "http://deb.debian.org/debian-security"
_ROLLING = ("sid", "unstable", "experimental")
_MERGED = {"riscv64": ("bin", "lib", "sbin"), "amd64": ("bin", "lib", "lib64", "sbin")}
"""The top directories that are links into /usr, for each architecture (base-files, Debian bug 1029802)."""

_HOSTS = """\
127.0.0.1\tlocalhost
127.0.1.1\tdebian
::1\t\tlocalhost ip6-localhost ip6-loopback
"""
_FSTAB = """\
# The root disk; /proc, /sys, /dev and /run are mounted before the first program starts.
/dev/vda\t/\text4\tdefaults,noatime\t0\t1
"""


_NO_FSTAB = "# What is mounted is for whoever runs the container to say.\n"


@dataclass(frozen=True, slots=True)
class System:
    """What identifies the system to be made: Debian's suite, architecture, the mirror its apt will ask, whether it has a root disk."""

    suite: str
    architecture: str
    mirror: str
    has_disk: bool = True


def bootstrap(system: System, packages: Iterable[Path], spool: Spool, advance: Callable[[int], None] = lambda done: None) -> list[Entry]:
    """The entries of a root disk on which the given .deb files are unpacked; `spool` keeps their content and must outlive the entries.

    `advance` hears of bytes of .deb files done. Raise BadInputError for a damaged or hostile package, OutOfSpaceError on a full disk.
    """
    root = Root()
    root.add_all(_skeleton(system.architecture))
    unpacked: list[Unpacked] = []
    for path in packages:
        package = Unpacked(read_control(path), read_data(path, spool))
        root.add_all(package.entries)
        unpacked.append(package)
        advance(path.stat().st_size)
    root.add_all(database(unpacked))
    root.add_all(_settings(system))
    return list(root.entries())


def _skeleton(architecture: str) -> Iterable[Entry]:
    yield Entry(path="", kind=Kind.DIRECTORY, mode=0o755)
    for name in _MERGED[architecture]:
        yield Entry(path=f"usr/{name}", kind=Kind.DIRECTORY, mode=0o755)
        yield Entry(path=name, kind=Kind.SYMLINK, mode=0o777, target=f"usr/{name}")


def _settings(system: System) -> Iterable[Entry]:
    """What debootstrap writes itself, and what says where the root disk is."""
    files = {
        "etc/apt/sources.list": "".join(f"{line}\n" for line in sources(system)),
        "etc/fstab": _FSTAB if system.has_disk else _NO_FSTAB,
        "etc/hostname": "debian\n",
        "etc/hosts": _HOSTS,
        "etc/resolv.conf": "",
        "var/lib/dpkg/cmethopt": "apt apt\n",
    }
    for name, text in files.items():
        yield Entry(path=name, kind=Kind.FILE, mode=0o644, data=text.encode())


def sources(system: System) -> Sequence[str]:
    """The lines of apt's sources.list: a release with its updates, security's too; a rolling suite has neither."""
    lines = [f"deb {system.mirror} {system.suite} main"]
    if system.suite not in _ROLLING:
        lines.append(f"deb {system.mirror} {system.suite}-updates main")
        lines.append(f"deb {SECURITY_MIRROR} {system.suite}-security main")
    return lines
