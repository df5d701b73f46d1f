"""A system from packages: their files, dpkg's records and the settings, in one tree that a disk can be made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from gasang.core.errors import BadInputError
from gasang.images.bootstrap import System, bootstrap, sources
from gasang.images.kernel import read
from gasang.images.spool import Spool
from gasang.storage.ext4 import write_ext4
from gasang.storage.tree import Entry, Kind, encode
from support.debian_archive import Archive

SYSTEM = System("trixie", "riscv64", "http://mirror.example/debian")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path) as made:
        yield made


def packages(tmp_path: Path) -> list[Path]:
    archive = Archive(tmp_path)
    archive.add(
        "base", files={"usr/bin/sh": b"shell", "etc/base.conf": b"x\n"}, scripts={"conffiles": b"/etc/base.conf\n", "postinst": b"#!"}
    )
    archive.add("old", files={"lib/old.so": b"library"})
    return sorted(tmp_path.glob("pool/main/*.deb"))


def test_the_tree(tmp_path: Path, spool: Spool) -> None:
    done: list[int] = []
    files = packages(tmp_path)
    entries = bootstrap(SYSTEM, files, spool, done.append)
    found: dict[str, Entry] = {encode(entry.path).decode(): entry for entry in entries}
    assert done == [path.stat().st_size for path in files]
    assert (found["bin"].kind, found["bin"].target) == (Kind.SYMLINK, "usr/bin")
    assert read(found["usr/lib/old.so"]) == b"library"
    assert "lib/old.so" not in found
    assert read(found["etc/apt/sources.list"]).decode().startswith("deb http://mirror.example/debian trixie main\n")
    assert b"/dev/vda" in read(found["etc/fstab"])
    status = read(found["var/lib/dpkg/status"]).decode()
    assert status.count("Status: install ok unpacked") == 2
    assert read(found["var/lib/dpkg/info/old.list"]) == b"/.\n/lib\n/lib/old.so\n"
    write_ext4(tmp_path / "disk", entries, 16 << 20, uuid=UUID(int=1))
    assert (tmp_path / "disk").stat().st_size == 16 << 20


def test_links_of_each_architecture(spool: Spool) -> None:
    for architecture, names in (("riscv64", {"bin", "lib", "sbin"}), ("amd64", {"bin", "lib", "lib64", "sbin"})):
        entries = bootstrap(System("trixie", architecture, "http://x"), [], spool)
        assert {encode(entry.path).decode() for entry in entries if entry.kind is Kind.SYMLINK} == names


def test_the_sources_of_a_rolling_suite() -> None:
    assert list(sources(System("sid", "riscv64", "http://x"))) == ["deb http://x sid main"]
    assert list(sources(SYSTEM))[1:] == [
        "deb http://mirror.example/debian trixie-updates main",
        "deb http://deb.debian.org/debian-security trixie-security main",
    ]


def test_a_damaged_package_is_named(tmp_path: Path, spool: Spool) -> None:
    files = packages(tmp_path)
    files[1].write_bytes(files[1].read_bytes()[:-100])
    with pytest.raises(BadInputError, match=r"package old_1.0-1_riscv64.deb"):
        bootstrap(SYSTEM, files, spool)
