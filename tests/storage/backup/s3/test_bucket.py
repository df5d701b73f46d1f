"""Backups in a bucket: against a server that is honest, one that fails at any request, and one that lies."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from gasang.core.errors import (
    BadInputError,
    GasangError,
    NotFoundError,
    OutOfSpaceError,
    PermissionDeniedError,
    StateError,
    TimedOutError,
    UsageError,
)
from gasang.storage.backup import repository as repositories
from gasang.storage.backup.manifest import Manifest, Object
from gasang.storage.backup.objects import keep_disk, restore_disk, verify
from gasang.storage.backup.packs import CHUNK
from gasang.storage.backup.repository import Repository
from gasang.storage.backup.s3 import bucket as buckets
from gasang.storage.backup.s3 import lease as leases
from gasang.storage.backup.store import open_store
from support.s3_server import Answer, Relay, Request

PLACE = "s3://mine/some/where"
MIB = 1 << 20


class Memory:
    """A disk in memory."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.content = bytearray(size)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.content[offset : offset + length])

    def write(self, offset: int, data: bytes | memoryview) -> None:
        self.content[offset : offset + len(data)] = data


def noise(size: int, seed: int) -> Memory:
    disk = Memory(size)
    disk.write(0, random.Random(seed).randbytes(size))
    return disk


def keep(name: str, disk: Memory, base: Object | None = None, runs: list[tuple[int, int]] | None = None) -> Object:
    with Repository.open(PLACE, writes=True, make=True) as repository:
        made, _ = keep_disk(repository, "volume", disk, [(0, disk.size)] if runs is None else runs, {}, base)
        repository.commit(Manifest(name, "data", "volume", "2026-01-01T00:00:00Z", (made,), {}))
    return made


def content_of(name: str) -> bytes:
    with Repository.open(PLACE) as repository:
        kept = repository.read(name).objects[0]
        disk = Memory(kept.size)
        restore_disk(repository, kept, disk)
    return bytes(disk.content)


def keys() -> list[str]:
    client = boto3.session.Session().client("s3")
    try:
        return [each["Key"] for each in client.list_objects_v2(Bucket="mine").get("Contents") or ()]
    finally:
        client.close()


def uploads() -> list[object]:
    client = boto3.session.Session().client("s3")
    try:
        return list(client.list_multipart_uploads(Bucket="mine").get("Uploads") or ())
    finally:
        client.close()


def error_of(code: str, status: int) -> Callable[[Request, Callable[[], Answer]], Answer]:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>so it is</Message></Error>".encode()
    return lambda request, answer: Answer(status, {"Content-Type": "application/xml", "Content-Length": "0"}, body)


def test_what_changed_is_read_sent_and_comes_back(s3: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repositories, "FULL", 12 * MIB)
    monkeypatch.setattr(buckets, "_LARGE", 10 * MIB)
    disk = noise(20 * MIB, 1)  # more than a pack, which is sent in parts
    first = keep("first", disk)
    assert any("partNumber" in each.query for each in s3.seen)
    whole = bytes(disk.content)
    s3.seen.clear()
    disk.write(5 * MIB, random.Random(2).randbytes(MIB))
    keep("second", disk, first, [(5 * MIB, MIB)])
    assert s3.sent() < MIB + 150_000, "two pages of 32 KiB and what belongs to requests come with it"
    assert content_of("first") == whole
    s3.seen.clear()
    assert content_of("second") == disk.content
    assert len(s3.seen) < 60, "what follows is read ahead, not chunk by chunk"
    with Repository.open(PLACE, writes=True) as repository:
        assert repository.names() == ["first", "second"]
        repository.remove("first")
        repository.sweep()
        verify(repository, repository.read("second").objects[0])
        with pytest.raises(NotFoundError):
            repository.remove("first")
    assert all(key.startswith("some/where/") for key in keys())
    assert not any("/locks/" in key for key in keys())


@pytest.mark.parametrize("what", ["create", "remove"])
def test_cut_at_any_request_what_was_there_is_whole(what: str, s3: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """From that request on the store is gone, as it is for a process that was killed; whether it did that one is not known."""
    monkeypatch.setattr(leases, "LEASE", 0.0)
    monkeypatch.setattr(leases, "MARGIN", -1000.0)
    monkeypatch.setattr(leases, "RENEW", 1000.0)
    monkeypatch.setattr(buckets, "_LARGE", CHUNK)
    monkeypatch.setitem(buckets.CONFIG, "retries", {"mode": "standard", "total_max_attempts": 1})
    disk = noise(8 * CHUNK, 4)
    first = keep("first", disk)
    whole = bytes(disk.content)
    second = noise(8 * CHUNK, 5)
    steps = 0
    for done in (False, True):
        for step in range(100):
            if what == "remove":
                keep("second", second, first)
            count = 0

            def cut(request: Request, answer: Callable[[], Answer], step: int = step, done: bool = done) -> Answer | None:
                nonlocal count
                count += request.changes
                if count > step:
                    if count == step + 1 and done and request.changes:
                        answer()
                    count += 1
                    return None
                return answer()

            s3.fault = cut
            try:
                if what == "create":
                    keep("third", noise(8 * CHUNK, 100 + step))
                else:
                    with Repository.open(PLACE, writes=True) as repository:
                        repository.remove("second")
                        repository.sweep()
            except GasangError:
                pass
            s3.fault = lambda request, answer: answer()
            over = count <= step
            with Repository.open(PLACE, writes=True) as repository:
                assert not uploads(), "parts that no object came of are gone"
                for each in repository.all():
                    verify(repository, each.objects[0])
                    if each.identity != "first":
                        repository.remove(each.identity)
                repository.sweep()
            assert content_of("first") == whole, step
            steps = max(steps, step)
            if over:
                break
        else:
            raise AssertionError("it does not end")
    assert steps > 3


def test_one_writes_at_a_time(s3: Relay) -> None:
    keep("first", noise(CHUNK, 1))
    with Repository.open(PLACE, writes=True):
        with pytest.raises(StateError, match=r"another writes to them; .* free in 3\d\d s"):
            Repository.open(PLACE, writes=True)
        with Repository.open(PLACE) as reader:
            assert reader.names() == ["first"]
    Repository.open(PLACE, writes=True).close()


def test_of_several_that_begin_together_one_writes_at_most(s3: Relay) -> None:
    keep("first", noise(CHUNK, 1))
    writing, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(4)

    def work() -> None:
        nonlocal writing, most
        for _ in range(4):
            together.wait()
            try:
                repository = Repository.open(PLACE, writes=True)
            except StateError:
                continue
            with lock:
                writing += 1
                most = max(most, writing)
            with lock:
                writing -= 1
            repository.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most <= 1
    assert not any("/locks/" in key for key in keys())


def test_the_first_of_two_makers_makes_it(s3: Relay) -> None:
    """If-None-Match lets one note be there; where a store does not know that, the writers' lease still does."""
    refused: list[str] = []

    def old(request: Request, answer: Callable[[], Answer]) -> Answer:
        if "If-None-Match" in request.headers:
            refused.append(request.name)
            return error_of("NotImplemented", 501)(request, answer)
        return answer()

    s3.fault = old
    keep("first", noise(CHUNK, 1))
    assert {name.rpartition("/")[2] for name in refused} >= {"gasang-backup.json", "first.json"}
    s3.fault = lambda request, answer: answer()
    store = open_store(PLACE)
    draft = store.draft("backups/first.json")
    draft.file.write(b"another")
    with pytest.raises(FileExistsError):
        draft.publish()
    store.close()
    assert len(content_of("first")) == CHUNK


def test_an_answer_that_was_lost_is_no_conflict(s3: Relay) -> None:
    lost: set[str] = set()

    def lose(request: Request, answer: Callable[[], Answer]) -> Answer | None:
        got = answer()
        if request.method == "PUT" and request.name not in lost:
            lost.add(request.name)
            return None
        return got

    s3.fault = lose
    keep("first", noise(CHUNK, 1))
    assert len(lost) >= 4
    assert len(content_of("first")) == CHUNK


def test_passing_troubles_are_waited_out(s3: Relay) -> None:
    number = 0

    def every_third(request: Request, answer: Callable[[], Answer]) -> Answer | None:
        nonlocal number
        number += 1
        if number % 3 == 0:
            return error_of("SlowDown", 503)(request, answer)
        got = answer()
        if number % 3 == 1 and request.method == "GET" and len(got.body) > 10_000:
            got.cut = len(got.body) // 2
        return got

    disk = noise(2 * MIB, 1)
    s3.fault = every_third
    keep("first", disk)
    assert content_of("first") == disk.content


def _broken(request: Request, answer: Callable[[], Answer]) -> Answer:
    return error_of("InternalError", 500)(request, answer)


def _truncating(request: Request, answer: Callable[[], Answer]) -> Answer:
    got = answer()
    got.cut = len(got.body) // 2 if request.method == "GET" and request.name else None
    return got


def _short(request: Request, answer: Callable[[], Answer]) -> Answer:
    got = answer()
    if request.method == "GET" and ".pack" in request.name:
        got.body = got.body[:-1]
    return got


def _flipping(request: Request, answer: Callable[[], Answer]) -> Answer:
    got = answer()
    if request.method == "GET" and ".pack" in request.name and got.body:
        got.body = bytes([got.body[0] ^ 1]) + got.body[1:-100] + bytes(100)
    return got


def _generous(request: Request, answer: Callable[[], Answer]) -> Answer:
    got = answer()
    if request.method == "GET" and request.name.endswith(".pack"):
        got.body += bytes(9 * MIB)
    return got


def _endless(request: Request, answer: Callable[[], Answer]) -> Answer:
    request.path = request.path.replace("continuation-token=x&", "").replace("&continuation-token=x", "")
    got = answer()
    if request.method == "GET" and "list-type=2" in request.query:
        more = b"<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken></ListBucketResult>"
        got.body = got.body.replace(b"<IsTruncated>false</IsTruncated>", b"").replace(b"</ListBucketResult>", more)
        if b"<Contents>" not in got.body:
            got.body = got.body.replace(b"<IsTruncated>", b"<Contents></Contents><IsTruncated>")
    return got


def _babbling(request: Request, answer: Callable[[], Answer]) -> Answer:
    return Answer(200, {"Content-Type": "text/html"}, b"<html>" + bytes(range(256)) * 10)


def _gone(request: Request, answer: Callable[[], Answer]) -> None:
    return None


FAULTS = {
    "500": (_broken, BadInputError, "InternalError"), "truncating": (_truncating, GasangError, "."),
    "short": (_short, BadInputError, "ends early|damaged|missing"), "flipping": (_flipping, BadInputError, "damaged|missing"),
    "generous": (_generous, BadInputError, "more than it was asked for|missing"), "endless": (_endless, BadInputError, "without end"),
    "babbling": (_babbling, BadInputError, "."), "gone": (_gone, BadInputError, "cannot be used"),
    "full": (error_of("QuotaExceeded", 403), OutOfSpaceError, "full"),
    "refusing": (error_of("AccessDenied", 403), PermissionDeniedError, "keys"),
    "elsewhere": (error_of("PermanentRedirect", 301), GasangError, "."),
    "skewed": (error_of("RequestTimeTooSkewed", 403), StateError, "clock"),
    "no bucket": (error_of("NoSuchBucket", 404), NotFoundError, "no such bucket"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_store_that_fails_or_lies_is_told_of_and_nothing_is_lost(name: str, s3: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    fault, kind, text = FAULTS[name]
    monkeypatch.setattr(buckets, "_MOST_LISTED", 100)
    disk = noise(MIB, 1)
    keep("first", disk)
    s3.fault = fault
    with pytest.raises(kind, match=text):
        content_of("first")
    if name not in ("short", "flipping", "generous", "truncating"):
        with pytest.raises(GasangError):
            keep("second", noise(MIB, 2))
    s3.fault = lambda request, answer: answer()
    assert content_of("first") == disk.content


def test_a_store_that_stands_still_is_given_up(s3: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    keep("first", noise(CHUNK, 1))
    monkeypatch.setitem(buckets.CONFIG, "read_timeout", 1)
    release = threading.Event()

    def stall(request: Request, answer: Callable[[], Answer]) -> None:
        release.wait(30)

    s3.fault = stall
    try:
        with pytest.raises(TimedOutError, match="does not answer"):
            Repository.open(PLACE)
    finally:
        release.set()


def test_what_the_store_keeps_wrongly_does_not_stay(s3: Relay) -> None:
    def spoil(request: Request, answer: Callable[[], Answer]) -> Answer:
        got = answer()
        if request.method == "HEAD" and request.name.endswith(".pack"):
            got.headers["ETag"] = '"00000000000000000000000000000000"'
        if request.method == "GET" and request.name.endswith(".pack"):
            got.body = bytes(len(got.body))
        return got

    s3.fault = spoil
    with pytest.raises(BadInputError, match="something else than was sent"):
        keep("first", noise(CHUNK, 1))
    assert not [key for key in keys() if ".pack" in key or "backups/" in key]

    def tagged(request: Request, answer: Callable[[], Answer]) -> Answer:
        got = answer()
        if request.method == "HEAD":
            got.headers["ETag"] = '"of-its-own"'
        return got

    s3.fault = tagged
    keep("first", noise(CHUNK, 1))
    s3.fault = lambda request, answer: answer()
    assert content_of("first") == noise(CHUNK, 1).content


def test_a_pack_that_was_removed_meanwhile_is_missed(s3: Relay) -> None:
    keep("first", noise(CHUNK, 1))
    with Repository.open(PLACE) as reader:
        kept = reader.read("first").objects[0]
        reader.get(bytes.fromhex(kept.pages[0]))
        with Repository.open(PLACE, writes=True) as other:
            other.remove("first")
            other.sweep()
        reader._store._ahead.clear()  # type: ignore[attr-defined]
        with pytest.raises(BadInputError, match="missing"):
            verify(reader, kept)


@pytest.mark.parametrize("place", ["s3://", "s3:///x", "s3://a", "s3://mine/\x1b[2J", "s3://../x", "s3://mi ne"])
def test_places_that_cannot_be(place: str, s3: Relay) -> None:
    with pytest.raises(UsageError):
        Repository.open(place)


def test_a_bucket_with_other_things_is_let_alone(s3: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    client = boto3.session.Session().client("s3")
    client.put_object(Bucket="mine", Key="some/where/else", Body=b"x")
    client.close()
    with pytest.raises(StateError, match="other files"):
        keep("first", noise(CHUNK, 1))
    with pytest.raises(NotFoundError, match="there are none"):
        Repository.open("s3://mine/nowhere")
    with pytest.raises(NotFoundError, match="no such bucket"):
        Repository.open("s3://yours/nowhere", writes=True, make=True)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(PermissionDeniedError, match="no keys"):
        Repository.open(PLACE)


def test_without_the_library_it_is_told_how_to_have_it(tmp_path: Path) -> None:
    (tmp_path / "boto3.py").write_text("raise ImportError('boto3')\n")
    program = """if True:
        import sys
        from gasang.core.errors import UnsupportedError
        from gasang.storage.backup.repository import Repository
        Repository.open(sys.argv[1], writes=True, make=True).close()
        assert "boto3" not in sys.modules and "botocore" not in sys.modules, "a folder needs none of it"
        try:
            Repository.open("s3://mine/x")
        except UnsupportedError as error:
            print(error)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    told = subprocess.run([sys.executable, "-c", program, tmp_path / "b"], env=environment, check=True, capture_output=True, text=True)
    assert "pip install 'gasang[s3]'" in told.stdout
