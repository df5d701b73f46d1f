"""Pushing, against Debian's docker-registry and against one that misbehaves; skopeo, where it is, reads what came of it."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, GasangError, NotFoundError, PermissionDeniedError
from gasang.images.containers import ContainerImage, Containers
from gasang.images.content.content import Content
from gasang.images.layers.pack import pack_stream
from gasang.images.reference import parse_reference
from gasang.images.registry import upload
from gasang.images.registry.credentials import Keyring
from gasang.images.registry.events import Event, Status
from gasang.images.registry.platform import parse_platform
from gasang.images.registry.pull import pull
from gasang.images.registry.push import push
from gasang.images.registry.settings import Registries
from support.fake_registry import FakeRegistry, Handler
from support.tars import Item, archive, folder, hardlink, symlink, tree

AMD64 = parse_platform("linux/amd64")
NOBODY = Keyring()
NOISE = bytes((index * 7919 + index // 251) % 256 for index in range(1 << 20))


def made(content: Content, name: str, *archives: bytes) -> ContainerImage:
    """An image of our own in the store."""
    content.prepare()
    containers = Containers(content)
    with content.leases.take() as lease:
        layers = [pack_stream(content, lease.hold, [data]) for data in archives]
        config = {**AMD64.document(), "config": {}, "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}}
        manifest = containers.add(config, [layer.blob for layer in layers], lease.hold)
        return containers.tag(manifest, parse_reference(name))


def untimed(path: Path) -> dict[str, tuple[object, ...]]:
    """A tree without times."""
    return {name: (*facts[:3], *facts[4:]) for name, facts in tree(path).items()}


def test_there_and_back(real_registry: str, content: Content, tmp_path: Path) -> None:
    name = f"{real_registry}/there/back:1"
    items = [Item("a", NOISE), folder("d"), Item("d/b", b"b", mode=0o600, uid=7), symlink("d/c", "b"), hardlink("e", "a")]
    image = made(content, name, archive(items), archive([Item("d/.wh.b"), Item("f", b"f")]))
    digest = push(name, content, keyring=NOBODY)
    assert digest == image.digest
    other = Content(tmp_path / "other")
    found = pull(name, other, platform=AMD64, keyring=NOBODY)
    assert (found.id, found.digest, found.layers) == (image.id, image.digest, image.layers)
    ours, theirs = Containers(content).layers_of(image), Containers(other).layers_of(found)
    assert tree(ours[0]) == tree(theirs[0])
    assert untimed(ours[1]) == untimed(theirs[1])  # a whiteout, and a folder that no entry describes, have the time of their making
    assert sorted(path.name for path in theirs[0].iterdir()) == ["a", "d", "e"]


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_reads_what_we_push_and_we_what_it_pushes(real_registry: str, content: Content, tmp_path: Path) -> None:
    name = f"{real_registry}/skopeo/one:1"
    image = made(content, name, archive([Item("a", NOISE)]))
    push(name, content, keyring=NOBODY)
    target = f"docker://{real_registry}/skopeo/two:1"
    command = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", "v2s2"]
    subprocess.run([*command, f"docker://{name}", target], check=True)
    shown = subprocess.run(["skopeo", "inspect", "--raw", "--tls-verify=false", target], check=True, capture_output=True, text=True).stdout
    assert json.loads(shown)["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    found = pull(f"{real_registry}/skopeo/two:1", Content(tmp_path / "other"), platform=AMD64, keyring=NOBODY)
    assert found.diff_ids == image.diff_ids


def test_what_is_there_is_not_sent_and_neighbours_lend(real_registry: str, content: Content) -> None:
    first, second = f"{real_registry}/near/one:1", f"{real_registry}/near/two:1"
    image = made(content, first, archive([Item("shared", NOISE)]))
    events: list[Event] = []
    push(first, content, keyring=NOBODY, listener=events.append)
    assert Status.PUSHED in {event.status for event in events}
    push(first, content, keyring=NOBODY, listener=events.append)
    assert events[-1].status == Status.THERE
    Containers(content).tag(image.manifest, parse_reference(second))
    events.clear()
    push(second, content, keyring=NOBODY, listener=events.append)
    assert "Mounted from near/one" in {event.status for event in events}
    assert len(Containers(content).find(second).repository_digests) == 2


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "MONOLITHIC_MAX", 1000)
    monkeypatch.setattr(upload, "CHUNK", 300_000)


@pytest.mark.usefixtures("small_chunks")
def test_chunks(real_registry: str, content: Content, tmp_path: Path) -> None:
    name = f"{real_registry}/chunks/one:1"
    image = made(content, name, archive([Item("a", NOISE)]) + NOISE)
    push(name, content, keyring=NOBODY)
    found = pull(name, Content(tmp_path / "other"), platform=AMD64, keyring=NOBODY)
    assert found.digest == image.digest


@pytest.mark.usefixtures("small_chunks")
def test_an_upload_is_gone_on_with(fake: FakeRegistry, content: Content, quick: Registries) -> None:
    """The second chunk is lost half-way; the registry says what it has, and the rest is sent."""
    name = f"{fake.address}/app:1"
    seen: list[str] = []

    def lose(handler: Handler) -> bool:
        if handler.command != "PATCH":
            return False
        seen.append(handler.headers["Content-Range"])
        if len(seen) != 2:
            return False
        session = handler.path.rpartition("/")[2].partition("?")[0]
        fake.uploads[session] += handler.body()[:1000]
        handler.close_connection = True
        return True

    fake.rules.append(lose)
    image = made(content, name, archive([Item("noise", random.Random(1).randbytes(768_000))]))
    assert push(name, content, keyring=NOBODY, registries=quick) == image.digest
    starts = [int(text.partition("-")[0]) for text in seen]
    assert starts[:3] == [0, 300_000, 301_000]


@pytest.mark.parametrize("failure", ["500", "drop"])
def test_failures_that_pass(failure: str, fake: FakeRegistry, content: Content, quick: Registries) -> None:
    name = f"{fake.address}/app:1"
    made(content, name, archive([Item("a", b"x")]))
    left = [2]

    def fail(handler: Handler) -> bool:
        if handler.command != "PUT" or "digest=" not in handler.path or not left[0]:
            return False
        left[0] -= 1
        handler.body()
        handler.close_connection = True
        return handler.answer(500) if failure == "500" else True

    fake.rules.append(fail)
    push(name, content, keyring=NOBODY, registries=quick)
    assert left == [0]
    assert ("app", "1") in fake.manifests


def test_failures_that_do_not_pass(fake: FakeRegistry, content: Content, quick: Registries) -> None:
    name = f"{fake.address}/app:1"
    made(content, name, archive([Item("a", b"x")]))
    with pytest.raises(NotFoundError, match=r"image .*other:1: it is not here"):
        push(f"{fake.address}/other:1", content, keyring=NOBODY, registries=quick)
    fake.rules.append(lambda handler: handler.command == "POST" and handler.answer(403, b'{"errors":[{"code":"DENIED"}]}'))
    with pytest.raises(PermissionDeniedError, match=r"access is denied by 127.0.0.1:\d+ \(DENIED\)"):
        push(name, content, keyring=NOBODY, registries=quick)
    fake.rules[0] = lambda handler: handler.command == "PUT" and bool(handler.body() or True) and handler.answer(500)
    with pytest.raises(GasangError, match="answers 500"):
        push(name, content, keyring=NOBODY, registries=quick)
    fake.rules[0] = lambda handler: (
        "/manifests/" in handler.path and bool(handler.body()) and handler.answer(201, Docker_Content_Digest="sha256:1")
    )
    with pytest.raises(BadInputError, match="stores it under another digest"):
        push(name, content, keyring=NOBODY, registries=quick)
    fake.rules[0] = lambda handler: handler.path == "/v2/" and handler.answer(404)
    with pytest.raises(GasangError, match="it does not speak the distribution API"):
        push(name, content, keyring=NOBODY, registries=quick)
    fake.rules[0] = lambda handler: handler.command == "POST" and handler.answer(202, Location="ftp://x/y")
    fake.blobs.clear()
    with pytest.raises(BadInputError, match="sends uploads to where we do not go"):
        push(name, content, keyring=NOBODY, registries=quick)
