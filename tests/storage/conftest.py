"""A second opinion on file systems: e2fsck, and an ext4 reader of our own that shares nothing with the writer."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PREFIXES = {1: "user.", 2: "system.posix_acl_access", 3: "system.posix_acl_default", 4: "trusted.", 6: "security.", 7: "system."}
KINDS = {8: "file", 4: "directory", 10: "symbolic link", 2: "character device", 6: "block device", 1: "fifo", 12: "socket"}
CODES = {1: 8, 2: 4, 3: 2, 4: 6, 5: 1, 6: 12, 7: 10}


class Ext4Reader:
    """Reads what a 4 KiB-block, 256-byte-inode ext4 image holds; asserts the invariants it relies on."""

    def __init__(self, path: Path) -> None:
        with open(path, "rb") as file:
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.super = self.data[1024:2048]
        assert self.u16(self.super, 0x38) == 0xEF53
        self.per_group = self.u32(self.super, 0x28)

    @staticmethod
    def u16(raw: bytes | mmap.mmap, at: int) -> int:
        return int(struct.unpack_from("<H", raw, at)[0])

    @staticmethod
    def u32(raw: bytes | mmap.mmap, at: int) -> int:
        return int(struct.unpack_from("<I", raw, at)[0])

    def block(self, number: int) -> bytes:
        return self.data[number * 4096 : number * 4096 + 4096]

    def inode(self, number: int) -> bytes:
        group, index = divmod(number - 1, self.per_group)
        at = 4096 + group * 64
        table = self.u32(self.data, at + 8) | self.u32(self.data, at + 0x28) << 32
        start = table * 4096 + index * 256
        return self.data[start : start + 256]

    def extents(self, node: bytes) -> Iterator[tuple[int, int, int]]:
        magic, count, room, depth = struct.unpack_from("<4H", node)
        assert magic == 0xF30A
        assert count <= room
        for i in range(count):
            logical, a, b, c = struct.unpack_from("<IHHI" if not depth else "<IIHH", node, 12 + 12 * i)
            if depth:
                yield from self.extents(self.block(a | b << 32))
            else:
                yield logical, c | b << 32, a

    def content(self, inode: bytes) -> bytes:
        size = self.u32(inode, 4) | self.u32(inode, 0x6C) << 32
        if not self.u32(inode, 0x20) & 0x80000:
            return inode[0x28 : 0x28 + size]
        pieces = []
        expected = 0
        for logical, start, length in self.extents(inode[0x28:0x64]):
            assert logical == expected
            expected += length
            pieces.append(self.data[start * 4096 : (start + length) * 4096])
        return b"".join(pieces)[:size]

    def names(self, inode: bytes) -> Iterator[tuple[bytes, int, int]]:
        raw = self.content(inode)
        at = 0
        while at < len(raw):
            number, length, size, code = struct.unpack_from("<IHBB", raw, at)
            if number:
                yield raw[at + 8 : at + 8 + size], number, code
            at += length

    def attributes(self, inode: bytes) -> dict[str, bytes]:
        result: dict[str, bytes] = {}
        if self.u32(inode, 160) == 0xEA020000:
            result |= self._attributes(inode[164:], 0)
        if block := self.u32(inode, 0x68):
            result |= self._attributes(self.block(block), 32)
        return result

    def _attributes(self, raw: bytes, at: int) -> dict[str, bytes]:
        result = {}
        while self.u32(raw, at):
            length, index, offset, _, size, _ = struct.unpack_from("<BBHIII", raw, at)
            result[PREFIXES[index] + raw[at + 16 : at + 16 + length].decode()] = raw[offset : offset + size]
            at += 16 + (length + 3 & ~3)
        return result

    def describe(self, inode: bytes) -> dict[str, Any]:
        mode = self.u16(inode, 0)
        kind = KINDS[mode >> 12]
        extra = self.u32(inode, 0x88) & 3
        device = (0, 0)
        if "device" in kind:
            old, new = struct.unpack_from("<II", inode, 0x28)
            device = (old >> 8, old & 0xFF) if old else (new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xFFF00)
        return {
            "kind": kind,
            "mode": mode & 0o7777,
            "uid": self.u16(inode, 2) | self.u16(inode, 0x78) << 16,
            "gid": self.u16(inode, 0x18) | self.u16(inode, 0x7A) << 16,
            "mtime": struct.unpack_from("<i", inode, 0x10)[0] + (extra << 32),
            "links": self.u16(inode, 0x1A),
            "device": device,
            "content": self.content(inode) if kind in ("file", "symbolic link") else b"",
            "xattrs": self.attributes(inode),
        }

    def tree(self) -> dict[bytes, dict[str, Any]]:
        """Every path ("" is the root) and what its inode says, its number included."""
        result: dict[bytes, dict[str, Any]] = {}
        pending = [(b"", 2)]
        while pending:
            path, number = pending.pop()
            inode = self.inode(number)
            result[path] = self.describe(inode) | {"inode": number}
            if result[path]["kind"] != "directory":
                continue
            for name, child, code in self.names(inode):
                assert self.u16(self.inode(child), 0) >> 12 == CODES[code]
                if name not in (b".", b".."):
                    pending.append((path + b"/" + name if path else name, child))
        return result


@pytest.fixture(scope="session")
def read_ext4() -> Callable[[Path], Ext4Reader]:
    """Opens an image for reading."""
    return Ext4Reader


@pytest.fixture(scope="session")
def fsck() -> Callable[[Path], None]:
    """Asserts that e2fsck finds nothing to mend."""
    program = shutil.which("e2fsck", path="/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin")
    if not program:
        pytest.skip("e2fsck (package e2fsprogs) is not installed: file systems are not checked by it")

    def check(path: Path) -> None:
        done = subprocess.run([program, "-fn", "-E", "no_optimize_extents", str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return check
