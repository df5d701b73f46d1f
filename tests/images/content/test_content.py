"""The content store's parts: leases, pins, ingests, garbage, and what a crash of the host may leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, UsageError
from gasang.images.content import garbage, leases, settling
from gasang.images.content.content import Content, digest_of
from gasang.images.content.ingest import GivenUp, ingesting
from gasang.images.content.locks import is_free, locked, only_one, wait_for
from gasang.images.content.settling import mark_durable, recover, settle
from gasang.images.descriptors import Blob
from gasang.images.store import DISK, Store


@pytest.fixture
def content(tmp_path: Path) -> Content:
    made = Content(tmp_path / "store")
    made.prepare()
    return made


def blob_of(data: bytes) -> Blob:
    return Blob("x", digest_of(data), len(data))


def names(content: Content) -> set[str]:
    return {path.name for path in content.blobs.iterdir()}


# locks


def test_locks_exclude_threads(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(50):
            with only_one(tmp_path / "one"), locked(tmp_path / "lock"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert not (tmp_path / "one").exists()
    with locked(tmp_path / "lock"):
        assert not is_free(tmp_path / "lock")
    assert is_free(tmp_path / "lock")
    assert is_free(tmp_path / "nothing")


# leases, pins, garbage


def test_what_a_lease_holds_stays(content: Content) -> None:
    with content.leases.take() as lease:
        lease.hold(digest_of(b"held"))
        content.keep_document(b"held", "x")
        content.keep_document(b"loose", "x")
        assert garbage.collect(content) == len(b"loose")
        assert names(content) == {digest_of(b"held")[7:]}
    assert content.leases.files() == []
    assert garbage.collect(content) == len(b"held")
    assert names(content) == set()


def test_a_killed_owners_lease_is_over(content: Content) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from gasang.images.content.content import Content, digest_of\n"
        "c = Content(Path(sys.argv[1]))\n"
        "with c.leases.take() as lease:\n"
        "    lease.hold(digest_of(b'data')); c.keep_document(b'data', 'x'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.run([sys.executable, "-c", program, str(content.root)], env=environment, check=False)
    assert child.returncode == -signal.SIGKILL
    assert len(content.leases.files()) == 1
    assert garbage.collect(content) == 4
    assert content.leases.files() == []


def test_what_a_killed_pull_added_is_still_to_be_settled(content: Content) -> None:
    for lasting in (True, False):
        with content.leases.take(lasting=lasting) as lease:
            garbage.collect(content)
            assert lease.path in content.leases.files()
    garbage.collect(content)
    assert [path.name.endswith(".lasting") for path in content.leases.files()] == [True]
    crashed = content.leases.folder / f"{uuid4().hex}.1.x"  # of a start before this one: `recover` looks at what it covered
    crashed.touch()
    garbage.collect(content)
    assert crashed.exists()


def test_a_lease_that_is_being_taken_is_not_settled(content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the making of its file and the lock on it: it belongs to a pull that begins while the last one is settled."""
    settling = threading.Thread(target=settle, args=(content,))

    def wait(descriptor: int) -> None:
        monkeypatch.undo()
        settling.start()
        settling.join(0.2)
        wait_for(descriptor)

    monkeypatch.setattr(leases, "wait_for", wait)
    with content.leases.take(lasting=True) as lease:
        settling.join()
        assert lease.path.exists()
    settle(content)
    assert content.leases.files() == []


def test_the_images_of_machines_and_containers_share_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with store.changing():
        image = store.tag("debian:trixie", [store.add_bytes(b"disk", DISK)], {"kind": "vm"})
    with store.leases.take() as lease:  # a pull that goes on while a machine's image is made
        lease.hold(digest_of(b"layer"))
        store.keep_document(b"layer", "x")
        with store.changing():
            store.add_bytes(b"unused", DISK)
        assert digest_of(b"layer")[7:] in names(store)
        assert digest_of(b"unused")[7:] not in names(store)
    garbage.collect(store)
    assert store.images() == [image]
    assert len(names(store)) == 3


def test_a_machines_image_being_made_survives_a_collection(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with store.changing():
        disk = store.add_bytes(b"disk", DISK)
        garbage.collect(Content(store.root))
        store.tag("debian:trixie", [disk], {"kind": "vm"})
    assert store.resolve("debian:trixie").layers == (disk,)


def test_a_damaged_index_stops_collecting(content: Content) -> None:
    content.keep_document(b"loose", "x")
    (content.root / "index.json").write_bytes(b"{")
    assert garbage.collect(content) == 0
    assert len(names(content)) == 1
    with pytest.raises(BadInputError, match="a document of it is no JSON"):
        content.entries()


def test_pins(content: Content) -> None:
    content.pins.pin("box-1", "sha256:1", "sha256:2")
    content.pins.pin("box-2", "sha256:2")
    assert content.pins.needed() == {"sha256:1", "sha256:2"}
    content.pins.unpin("box-1")
    content.pins.unpin("box-1")
    assert content.pins.owners() == {"box-2": {"sha256:2"}}
    for wrong in ("", "../x", "a/b", ".hidden"):
        with pytest.raises(UsageError, match="that is no identifier"):
            content.pins.pin(wrong, "x")


def test_unpacked_layers_nobody_needs(content: Content) -> None:
    for name in ("a" * 64, ".new-" + "b" * 64 + ".1", "c" * 64):
        (content.layers / name / "fs").mkdir(parents=True)
    with content.leases.take() as lease, locked(content.layers / (".lock-" + "b" * 64)):
        lease.hold("sha256:" + "c" * 64)
        garbage.collect(content)
        assert sorted(path.name for path in content.layers.glob("*[!k]*") if path.is_dir()) == [".new-" + "b" * 64 + ".1", "c" * 64]
    garbage.collect(content)
    assert [path for path in content.layers.iterdir() if path.is_dir()] == []


def test_abandoned_downloads(content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    (content.ingests / ("a" * 64)).write_bytes(b"part")
    garbage.collect(content)
    assert len(list(content.ingests.iterdir())) == 1
    monkeypatch.setattr(garbage, "ABANDONED_AFTER", -5)
    garbage.collect(content)
    assert list(content.ingests.iterdir()) == []


# ingests


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.binary(min_size=1, max_size=2000), max_size=20))
def test_followers_see_what_is_written(content: Content, pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    blob = blob_of(data)
    content.path(blob).unlink(missing_ok=True)
    seen: list[bytes] = []
    with ingesting(content.ingests, blob) as ingest:
        follower = threading.Thread(target=lambda pieces: seen.append(b"".join(pieces)), args=(ingest.follow(),))
        follower.start()
        for piece in pieces:
            ingest.write(piece)
        ingest.finish(content.path(blob))
    follower.join()
    assert seen == [data]
    assert content.path(blob).read_bytes() == data


def test_an_ingest_goes_on(content: Content) -> None:
    blob = blob_of(b"0123456789")
    with ingesting(content.ingests, blob) as ingest:
        ingest.write(b"01234")
        with pytest.raises(BadInputError, match="more comes than its descriptor says"):
            ingest.write(b"567890")
    with ingesting(content.ingests, blob) as ingest:
        assert ingest.adopt() == 5
        ingest.write(b"56789")
        ingest.finish(content.path(blob))
    assert content.has(blob)
    assert list(content.ingests.iterdir()) == []


def test_an_ingest_that_is_wrong_is_forgotten(content: Content) -> None:
    blob = blob_of(b"right")
    with ingesting(content.ingests, blob) as ingest:
        ingest.write(b"wrong")
        with pytest.raises(BadInputError, match="its content has another digest"):
            ingest.finish(content.path(blob))
    assert list(content.ingests.iterdir()) == []
    (content.ingests / blob.digest[7:]).write_bytes(b"much too long")
    with ingesting(content.ingests, blob) as ingest:
        assert ingest.adopt() == 0


def test_followers_hear_of_a_failure(content: Content) -> None:
    with ingesting(content.ingests, blob_of(b"data")) as ingest:
        pieces = ingest.follow()
        ingest.write(b"da")
        assert next(pieces) == b"da"
        ingest.fail()
        with pytest.raises(GivenUp):
            next(pieces)
    assert [path.read_bytes() for path in content.ingests.iterdir()] == [b"da"]


# stable storage


def crashed(content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host is another start of itself."""
    monkeypatch.setattr(settling, "boot_id", lambda: "another")


def test_settling(content: Content) -> None:
    with content.leases.take(lasting=True) as lease:
        mark_durable(lease.path)
        settle(content)
        assert content.leases.files() == [lease.path]
    settle(content)
    assert content.leases.files() == []


def test_after_a_crash_what_is_wrong_is_gone(content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    old = content.keep_document(b"older than the lease", "x")
    os.utime(content.path(old), (1, 1))
    layer = content.layers / ("a" * 64)
    with content.leases.take(lasting=True):
        right, wrong = content.keep_document(b"right", "x"), content.keep_document(b"wrong", "x")
        (layer / "fs").mkdir(parents=True)
    content.path(wrong).write_bytes(b"\0\0\0\0\0")  # as a file whose data never reached the disk
    recover(content)
    assert layer.is_dir()
    assert content.path(wrong).exists()
    crashed(content, monkeypatch)
    recover(content)
    assert not layer.exists()
    assert names(content) == {right.digest[7:], old.digest[7:]}
    assert content.leases.files() == []
