"""Disks as devices: opened for what they are, read-only where asked, a throw-away layer that is not in memory."""

from __future__ import annotations

import gzip
import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, GasangError, NotFoundError, StateError, UnsupportedError, UsageError
from gasang.devices.virtio.block import FLUSH, READ_ONLY
from gasang.kinds.vm.disks import Disk, attach, is_document, of_document, throw_away, to_document
from gasang.storage.raw import Raw
from gasang.storage.throttle import Limits
from support.virtio_driver import Driver

SECTOR = 512
READ, WRITE = 0, 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "disk"
    file.write_bytes(b"d" * 8 * SECTOR)
    return file


def now(job: object) -> None:
    assert callable(job)
    job()


def refuse(sentence: str) -> None:
    raise AssertionError(sentence)


def request(kind: int, sector: int) -> bytes:
    return kind.to_bytes(4, "little") + bytes(4) + sector.to_bytes(8, "little")


@pytest.mark.parametrize("read_only", [False, True])
def test_a_disk_is_read_and_written(path: Path, read_only: bool) -> None:
    with ExitStack() as cleanup:
        (device,), _ = attach([Disk(path, read_only)], now, refuse, cleanup)
        driver = Driver(device)
        assert bool(driver.offered() & READ_ONLY) == read_only
        assert driver.offered() & FLUSH
        driver.start()
        assert driver.request(0, [request(READ, 1)], [SECTOR, 1]) == b"d" * SECTOR + b"\0"
        assert driver.request(0, [request(WRITE, 2), b"w" * SECTOR], [1]) == (b"\1" if read_only else b"\0")
    assert path.read_bytes()[2 * SECTOR : 3 * SECTOR] == (b"d" if read_only else b"w") * SECTOR


def test_a_file_that_may_not_be_written_can_be_read(path: Path) -> None:
    path.chmod(0o400)
    with ExitStack() as cleanup:
        assert len(attach([Disk(path, read_only=True)] * 2, now, refuse, cleanup)[0]) == 2


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"QFI\xfb" + bytes(508), UnsupportedError, "it is qcow2 version 0"),
        (gzip.compress(bytes(9999)), UnsupportedError, "compressed with gzip"),
        (b"", BadInputError, "0 bytes are no whole number of sectors"),
        (b"x" * 513, BadInputError, "513 bytes"),
        (None, NotFoundError, "no such file"),
    ],
)
def test_what_is_no_disk_is_refused(path: Path, content: bytes | None, kind: type[GasangError], words: str) -> None:
    good = path.with_name("good")
    good.write_bytes(bytes(SECTOR))
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(kind, match=words), ExitStack() as cleanup:
        attach([Disk(good), Disk(path)], now, refuse, cleanup)
    Raw.open(good).close()  # what was opened before has been closed, and its lock given back


def test_a_format_can_be_named(path: Path) -> None:
    path.write_bytes(b"QFI\xfb" + bytes(508))
    with ExitStack() as cleanup:
        assert attach([Disk(path, form="raw")], now, refuse, cleanup)[0]
        with pytest.raises(UsageError, match="known are: qcow2"):
            attach([Disk(path, form="floppy")], now, refuse, cleanup)


def test_two_machines_do_not_write_to_one_disk(path: Path) -> None:
    with ExitStack() as cleanup:
        attach([Disk(path)], now, refuse, cleanup)
        with pytest.raises(StateError):
            attach([Disk(path)], now, refuse, cleanup)


def test_what_fails_on_the_host_is_told_with_the_disks_name(path: Path) -> None:
    told: list[str] = []
    with ExitStack() as cleanup:
        (device,), _ = attach([Disk(path)], now, told.append, cleanup)
        driver = Driver(device).start()
        os.truncate(path, 0)
        assert driver.request(0, [request(READ, 1)], [SECTOR, 1])[-1:] in (b"", b"\1")
    assert len(told) == 1
    assert told[0].startswith(f"disk {path}: ")


def test_what_is_written_to_a_throw_away_layer_is_gone(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("GASANG_HOME", str(home))
    disk = throw_away(path)
    disk.write(0, b"new" * 100)
    assert disk.read(0, 300) == b"new" * 100
    assert disk.size == path.stat().st_size
    if Path("/proc/self/fd").exists():
        opened = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        assert any(name.startswith(str(home / "cache")) for name in opened)
    disk.close()
    assert path.read_bytes() == b"d" * 8 * SECTOR
    assert [entry for entry in home.rglob("*") if entry.is_file()] == []


def test_a_cache_folder_that_cannot_be_made_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GASANG_HOME", str(path))  # a file
    with pytest.raises(GasangError, match="layers: writing failed"):
        throw_away(path)
    Raw.open(path).close()


def test_a_slow_disk_has_a_worker_of_its_own(path: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(bytes(SECTOR))
    limits = Limits(data=1, data_burst=1)
    with ExitStack() as cleanup:
        (slow, _), (worker,) = attach([Disk(path, limits=limits), Disk(tmp_path / "other")], now, refuse, cleanup)
        driver = Driver(slow)
        driver.start()
        head = driver.rings[0].add([request(READ, 1)], [SECTOR, 1])
        driver.notify(0)
        worker.close()  # what was given is done then, without waiting for the limit of a byte a second
        assert driver.rings[0].take_used() == [(head, b"d" * SECTOR + b"\0")]


@pytest.mark.parametrize(
    ("disk", "document"),
    [
        (Disk(Path("/a")), ["/a", False]),
        (Disk(Path("/a"), True, "qcow2", limits=Limits(5, 0, 0, 7)), ["/a", True, {"form": "qcow2", "limits": [5, 0, 0, 7]}]),
        (Disk(Path("/a"), key_file=Path("/k")), ["/a", False, {"key_file": "/k"}]),
        (Disk(Path("/a"), key_file=Path("/k"), header=Path("/h")), ["/a", False, {"key_file": "/k", "header": "/h"}]),
        (
            Disk(Path("nbd+unix:///x?socket=/s"), address="nbd+unix:///x?socket=/s"),
            ["/s", False, {"address": "nbd+unix:///x?socket=/s"}],
        ),
        (
            Disk(Path("http://host/d"), True, "qcow2", address="http://host/d", key_file=Path("/k")),
            ["/", True, {"form": "qcow2", "address": "http://host/d", "key_file": "/k"}],
        ),
        (Disk(Path("nbd://host/x"), address="nbd://host/x"), ["/", False, {"address": "nbd://host/x"}]),
    ],
)
def test_a_disk_as_plain_values(disk: Disk, document: list[object]) -> None:
    assert to_document(disk) == document
    assert is_document(document)
    again = of_document(document)
    assert to_document(again) == document
    assert (again.limits, again.key_file, again.form, again.read_only) == (disk.limits, disk.key_file, disk.form, disk.read_only)


def test_a_socket_without_a_place() -> None:
    address = "nbd+unix:///x?socket=relative"
    with pytest.raises(UsageError, match="not absolute"):
        to_document(Disk(Path(address), address=address))


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.sampled_from(["/a", "a", "", "form", "limits", "key_file", "address", None, True, -1, 5]),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["form", "limits", "key_file", "address", "served", "header", "x"]), inner, max_size=3)
        ),
    )
)
def test_hostile_plain_values(document: object) -> None:
    for each in (document, ["/a", False, document]):
        if is_document(each):
            assert isinstance(each, list)
            assert of_document(each).path.is_absolute()
            assert of_document(each).served == -1, "nobody but the process itself says so"
