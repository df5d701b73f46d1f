"""Debian's stock riscv64 kernel, fetched once from a mirror: the newest linux-image of the suite."""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from guests.build import cache_directory

MIRROR = "http://deb.debian.org/debian"
SUITE = "trixie"


class FetchError(Exception):
    """The mirror's answer is not what the index promises."""


def _download(url: str) -> bytes:
    print(f"fetching {url}", file=sys.stderr)
    with urllib.request.urlopen(url, timeout=60) as answer:
        return bytes(answer.read())


def _fields(index: str, package: str) -> dict[str, str]:
    """The fields of a package's newest entry in a Packages index."""
    for entry in index.split("\n\n"):
        if entry.startswith(f"Package: {package}\n"):
            return dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", entry, re.MULTILINE))
    raise FetchError(f"{package} is not in {SUITE} for riscv64")


def _members(archive: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Name and content of each member of an ar archive, which is what a .deb is."""
    if archive.read(8) != b"!<arch>\n":
        raise FetchError("the package is no ar archive")
    while header := archive.read(60):
        size = int(header[48:58])
        yield header[:16].decode().rstrip(" /"), archive.read(size)
        archive.read(size % 2)


def _unpack(package: bytes, into: Path) -> None:
    """Write the kernel of a linux-image package to `into`."""
    for name, content in _members(io.BytesIO(package)):
        if name == "data.tar.xz":
            with lzma.open(io.BytesIO(content)) as data, tarfile.open(fileobj=data, mode="r|") as tree:
                for member in tree:
                    if member.name.startswith("./boot/vmlinu") and (kernel := tree.extractfile(member)):
                        into.write_bytes(kernel.read())
                        return
    raise FetchError("the package holds no /boot/vmlinu*")


def stock_kernel() -> Path:
    """The path of the kernel Image; raises FetchError or OSError."""
    have = sorted(cache_directory().glob("linux-image-*.Image"))
    if have:
        return have[-1]
    index = lzma.decompress(_download(f"{MIRROR}/dists/{SUITE}/main/binary-riscv64/Packages.xz")).decode()
    name = _fields(index, "linux-image-riscv64")["Depends"].split(" ")[0]
    entry = _fields(index, name)
    package = _download(f"{MIRROR}/{entry['Filename']}")
    if hashlib.sha256(package).hexdigest() != entry["SHA256"]:
        raise FetchError(f"{name} does not match its hash in the index; try again")
    kernel = cache_directory() / f"{name}.Image"
    scratch = kernel.with_suffix(".part")
    _unpack(package, scratch)
    scratch.replace(kernel)
    return kernel
