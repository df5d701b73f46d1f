"""Packages: what is in them comes out; hostile ones are refused with a sentence."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.images.deb import read_control, read_data
from gasang.images.kernel import read
from gasang.images.spool import Spool
from gasang.storage.tree import Entry, Kind
from support.debian_archive import COMPRESS, ar_of, deb_of, member, tar_of

CONTROL = {"control": b"Package: x\n"}


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path) as made:
        yield made


def entries_of(tmp_path: Path, spool: Spool, data: bytes, form: str = "") -> list[Entry]:
    path = tmp_path / "x.deb"
    path.write_bytes(deb_of(CONTROL, data, form))
    return read_data(path, spool)


@pytest.mark.parametrize("form", sorted(COMPRESS))
def test_a_package_of_each_compression(tmp_path: Path, spool: Spool, form: str) -> None:
    spool.append(b"something else before")
    data = tar_of(
        member("./", tarfile.DIRTYPE, 0o755),
        member("./usr/", tarfile.DIRTYPE, 0o755),
        member("./usr/hello", mode=0o4755),
        member("./usr/link", tarfile.SYMTYPE, 0o777, "../etc/x"),
        member("./usr/hard", tarfile.LNKTYPE, 0o644, "./usr/hello"),
        data={"./usr/hello": b"content"},
    )
    found = entries_of(tmp_path, spool, data, form)
    assert [(entry.path, entry.kind, entry.mode, entry.target) for entry in found] == [
        ("", Kind.DIRECTORY, 0o755, ""),
        ("usr", Kind.DIRECTORY, 0o755, ""),
        ("usr/hello", Kind.FILE, 0o4755, ""),
        ("usr/link", Kind.SYMLINK, 0o777, "../etc/x"),
        ("usr/hard", Kind.HARDLINK, 0o644, "usr/hello"),
    ]
    assert read(found[2]) == b"content"
    assert found[2].mtime == 1_700_000_000


def test_devices_and_extended_attributes(tmp_path: Path, spool: Spool) -> None:
    device = member("./dev/null", tarfile.CHRTYPE, 0o666)
    device.devmajor, device.devminor = 1, 3
    capable = member("./bin/ping", mode=0o755)
    capable.pax_headers = {"SCHILY.xattr.security.capability": "\x01\udc80"}
    null, ping = entries_of(tmp_path, spool, tar_of(device, capable))
    assert null.device == (1, 3)
    assert ping.xattrs == {"security.capability": b"\x01\x80"}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (member("/etc/passwd"), "path /etc/passwd leads outside"),
        (member("../etc/passwd"), "leads outside"),
        (member("./usr/../../etc"), "leads outside"),
        (member("./usr/.."), "leads outside"),
        (member("usr//x"), "not relative and normalised"),
        (member("./" + "x" * 256), "a component has 256 bytes"),
        (member("./up", tarfile.SYMTYPE, target="../outside"), "link up leads outside, to ../outside"),
        (member("./a/up", tarfile.SYMTYPE, target="b/../../../x"), "link a/up leads outside"),
        (member("./a/empty", tarfile.SYMTYPE, target=""), "its target is empty"),
        (member("./hard", tarfile.LNKTYPE, target="/etc/passwd"), "leads outside"),
        (member("./hard", tarfile.LNKTYPE, target="./missing"), "link hard names missing, which it does not hold"),
        (member("./odd", b"V"), "of a type no package holds"),
    ],
)
def test_hostile_members_are_refused(tmp_path: Path, spool: Spool, bad: tarfile.TarInfo, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        entries_of(tmp_path, spool, tar_of(bad))


def test_links_within_are_no_harm(tmp_path: Path, spool: Spool) -> None:
    links = ["/etc/alternatives/x", "../../bin/x", "./x", ".."]
    found = entries_of(tmp_path, spool, tar_of(*(member(f"./usr/bin/l{n}", tarfile.SYMTYPE, target=link) for n, link in enumerate(links))))
    assert [entry.target for entry in found] == links


def test_a_size_that_lies_is_told(tmp_path: Path, spool: Spool) -> None:
    data = tar_of(member("./a"), data={"./a": b"1234"})[:512]
    with pytest.raises(BadInputError, match=r"damaged|says 4 bytes, the archive ends before that"):
        entries_of(tmp_path, spool, data)


def test_a_sparse_file_is_refused(tmp_path: Path, spool: Spool) -> None:
    sparse = member("./a")
    sparse.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "./a", "GNU.sparse.realsize": "1000000"}
    with pytest.raises(BadInputError, match="no package holds"):
        entries_of(tmp_path, spool, tar_of(sparse, data={"./a": b"1\n0\n0\n".ljust(512, b"\0")}))


def test_the_control_archive_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.deb"
    path.write_bytes(deb_of({**CONTROL, "postinst": b"#!/bin/sh\n"}, tar_of()))
    found = read_control(path)
    assert {name: file.data for name, file in found.items()} == {**CONTROL, "postinst": b"#!/bin/sh\n"}
    assert found["postinst"].mode == 0o755


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "a/b", ".hidden"])
def test_odd_control_names_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.deb"
    path.write_bytes(deb_of({**CONTROL, name: b""}, tar_of()))
    with pytest.raises(BadInputError, match="holds the odd name"):
        read_control(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ar_of(("debian-binary", b"2.0\n")), "it has no control.tar"),
        (ar_of(("control.tar", tar_of(member("./postinst")))), "it has no control file"),
        (ar_of(("control.tar.lz", b"")), "compression .lz is not known"),
        (ar_of(("control.tar.xz", b"garbage")), "compressed data is damaged"),
        (ar_of(("control.tar", b"x" * 1024)), "archive is damaged"),
        (b"<html>", "does not start as a .deb does"),
    ],
)
def test_damaged_packages_are_told(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.deb"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=f"package x.deb.*{message}"):
        read_control(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=8))
def test_no_damage_gets_through(tmp_path: Path, position: int, bytes_: bytes) -> None:
    data = tar_of(member("./a"), member("./b", tarfile.SYMTYPE, target="a"), data={"./a": b"content"})
    deb = bytearray(deb_of(CONTROL, data, ""))
    deb[position : position + len(bytes_)] = bytes_
    path = tmp_path / "x.deb"
    path.write_bytes(deb)
    with Spool(tmp_path) as spool:
        try:
            read_control(path)
            found = read_data(path, spool)
        except BadInputError:
            return
        for entry in found:
            assert not str(entry.path).startswith("/")
            assert ".." not in str(entry.path).split("/")
            if entry.kind is Kind.FILE:
                assert len(read(entry)) == entry.length


def test_an_archive_of_many_long_names(tmp_path: Path, spool: Spool) -> None:
    name = "./" + "/".join(["x" * 200] * 10)
    found = entries_of(tmp_path, spool, tar_of(member(name)), ".gz")
    assert [entry.path for entry in found] == [name[2:]]
