"""What a machine has changed of its image's files, for ``diff``: what its agent tells of its root beside what is on the image's disk.

The guest's own disk is not read for it: the daemon reads nothing that a guest has written but text, and that with suspicion.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from gasang.core.errors import BadInputError, UnsupportedError
from gasang.daemon.containers.record import Container
from gasang.daemon.vms.ways import VmWays
from gasang.images.ready import ROOT
from gasang.kinds.vm.process.births import FILES, noted_files
from gasang.storage.filesystems.ext4 import Ext4, Facts
from gasang.storage.filesystems.listing import listing
from gasang.storage.filesystems.window import Window
from gasang.storage.raw import Raw

MODIFIED, ADDED, DELETED = 0, 1, 2
"""Docker Engine API, ContainerChanges."""
_LIST_ROOT: Final = """\
place=/run/gasang-$$
mkdir $place && mount --bind / $place || exit 1
trap 'cd /; umount -l $place; rmdir $place' EXIT
trap 'exit 1' HUP PIPE TERM
cd $place && find . -exec stat -c '%f %s %Y %u %g %n' {} +
"""
"""Bound elsewhere, the disk is seen without what is mounted over it."""
_LINE: Final = re.compile(rb"([0-9a-f]{1,8}) ([0-9]{1,19}) (-?[0-9]{1,19}) ([0-9]{1,10}) ([0-9]{1,10}) \.(/.*)?")
_OWN: Final = re.compile(rb"/run/gasang-[0-9]+")


def changes(ways: VmWays, container: Container) -> list[tuple[str, int]]:
    """(path, kind of change), by path, with the folders that lead there.

    Raises StateError for one that does not run, UnsupportedError where its files cannot be compared, BadInputError.
    """
    agent = ways.agent(container)
    files = noted_files(ways.folder(container) / FILES)
    if files.root != ROOT:
        hint = f"gasang export {container.name} gives all that is on it"
        raise UnsupportedError(container.subject, "its root is a part of an imported disk, which is compared with nothing", hint)
    done = agent.run(["sh", "-c", _LIST_ROOT], tool=True)
    present = parse(done.output)
    if b"/" not in present:
        raise BadInputError(container.subject, "its guest tells nothing of its files", f"look with gasang exec {container.name} ls")
    return compare(_image(files.disk, container.subject), present)


def _image(disk: Path, subject: str) -> dict[bytes, Facts]:
    with closing(Raw.open(disk, read_only=True)) as raw:
        return listing(Ext4(Window(raw.read, 0, raw.size, f"image of {subject}")))


def parse(told: bytes) -> dict[bytes, Facts]:
    """What a guest has told; a line that is none is passed over, such as the rest of a name with a newline."""
    found = {}
    for line in told.split(b"\n"):
        match = _LINE.fullmatch(line)
        path = (match[6] or b"/") if match else b""
        if match and not _OWN.fullmatch(path):
            mode, size = int(match[1], 16), int(match[2])
            sized = stat.S_ISREG(mode) or stat.S_ISLNK(mode)
            found[path] = Facts(mode, size if sized else 0, int(match[3]) % (1 << 32), int(match[4]), int(match[5]))
    return found


def compare(image: Mapping[bytes, Facts], present: Mapping[bytes, Facts]) -> list[tuple[str, int]]:
    """What differs, as Docker counts: of a folder that is gone nothing in it is told."""
    found = dict.fromkeys(present.keys() - image.keys(), ADDED)
    found |= {path: MODIFIED for path in present.keys() & image.keys() if present[path] != image[path]}
    gone = image.keys() - present.keys()
    found |= {path: DELETED for path in gone if _above(path) not in gone}
    for path in list(found):
        for folder in _folders(path):
            found.setdefault(folder, MODIFIED)
    found.pop(b"/", None)
    return sorted((path.decode("utf-8", "replace"), kind) for path, kind in found.items())


def _above(path: bytes) -> bytes:
    return path.rpartition(b"/")[0] or b"/"


def _folders(path: bytes) -> Iterator[bytes]:
    while path != b"/":
        path = _above(path)
        yield path
