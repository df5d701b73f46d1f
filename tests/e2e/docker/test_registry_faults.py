"""Registries that misbehave, through the docker client: the words, the exit code, and nothing half-made left behind."""

from __future__ import annotations

import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from support.engines.client import Docker, until
from support.engines.engine import ENGINES, Engine, remove, short_home
from support.engines.rootfs import layer
from support.fake_registry import FakeRegistry, Handler, make_image, serving
from support.tars import packed

NOISE = random.Random(7).randbytes(1 << 20)
SETTINGS = {"max-download-attempts": 2, "registry-timeout": 1}


@pytest.fixture
def fake(docker: Docker) -> Iterator[FakeRegistry]:
    """A registry that can misbehave, where the engine finds it."""
    with serving() as registry:
        yield registry


@pytest.fixture(scope="module")
def impatient(engine: Engine) -> Iterator[Engine]:
    """An engine whose settings say that it does not try long."""
    if engine.name != "gasang":
        pytest.skip("dockerd's patience cannot be set")
    home = short_home("gasang")
    (home / "daemon.json").write_text(json.dumps(SETTINGS))
    made = ENGINES["gasang"](home)
    made.start()
    yield made
    made.stop()
    remove(home)


@pytest.fixture
def hasty(impatient: Engine, tmp_path: Path) -> Iterator[Docker]:
    """Its client."""
    client = Docker(impatient, tmp_path / "hasty")
    yield client
    client.close()


def made():
    """An image with one layer of noise that does not compress."""
    return make_image([layer({"noise": NOISE})], family="docker")


def kept(home: Path) -> dict[str, set[str]]:
    """What a store has of images: blobs, layers, and what is on its way."""
    store = home / "data" / "images"
    return {part: {path.name for path in (store / part).glob("*")} for part in ("blobs/sha256", "layers", "ingest")}


def files(engine: Engine) -> int:
    """How many files its daemon has open."""
    return len(os.listdir(f"/proc/{engine.pid}/fd"))


def fails(docker: Docker, reference: str, words: str) -> None:
    """A pull ends with 1 and these words, and there is no such image."""
    said = docker("pull", reference, code=1).said
    assert re.search(words, said, re.IGNORECASE), said
    docker("image", "inspect", reference, code=1)
    assert reference not in docker("images", "--format", "{{.Repository}}:{{.Tag}}").lines


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "unauthorized|no basic auth credentials"),
        (403, "denied"),
        (404, "manifest unknown|not found"),
        (429, "toomanyrequests|refuses more requests"),
        (500, "500"),
        (503, "503"),
    ],
)
def test_an_answer_that_is_no_image(hasty: Docker, fake: FakeRegistry, status: int, words: str) -> None:
    codes = {401: "UNAUTHORIZED", 403: "DENIED", 404: "MANIFEST_UNKNOWN", 429: "TOOMANYREQUESTS"}
    text = {401: "authentication required", 403: "requested access to the resource is denied", 404: "manifest unknown"}.get(status, "no")
    body = json.dumps({"errors": [{"code": codes.get(status, "UNKNOWN"), "message": text}]}).encode()
    fake.rules.append(lambda handler: "/manifests/" in handler.path and handler.answer(status, body, Content_Type="application/json"))
    reference = fake.add("app", "1", made())
    before = kept(hasty.engine.home)
    fails(hasty, reference, words)
    assert kept(hasty.engine.home) == before
    # As with docker, `run` says so too, with its own exit code.
    assert re.search(words, hasty("run", "--rm", reference, code=125).said, re.IGNORECASE)
    fake.rules.clear()
    hasty("pull", reference)
    hasty("rmi", reference)


def test_a_layer_with_another_digest(docker: Docker, engine: Engine, fake: FakeRegistry) -> None:
    image = made()
    reference = fake.add("forged", "1", image)
    right = fake.blobs["forged", image.layer(0)]
    fake.blobs["forged", image.layer(0)] = bytes((right[0],)) + right[1:-1] + bytes((right[-1] ^ 1,))
    before = kept(engine.home)
    fails(docker, reference, "verification failed|another digest|damaged|unexpected EOF|checksum")
    if engine.name == "gasang":
        now = kept(engine.home)
        assert now["layers"] == before["layers"]
        assert now["ingest"] == before["ingest"]
        assert image.layer(0).partition(":")[2] not in now["blobs/sha256"]
    fake.blobs["forged", image.layer(0)] = right
    docker("pull", reference)
    docker("rmi", reference)


def test_a_truncated_layer(docker: Docker, engine: Engine, fake: FakeRegistry) -> None:
    """The manifest's digest is that of the truncated blob: only unpacking can tell."""
    image = make_image([layer({"noise": NOISE})], family="docker", compress=lambda data: packed(data)[:-400])
    before = kept(engine.home)
    fails(docker, fake.add("short", "1", image), "unexpected EOF|ends early|damaged")
    if engine.name == "gasang":
        assert kept(engine.home)["layers"] == before["layers"]
        assert kept(engine.home)["ingest"] == before["ingest"]


def test_a_connection_that_drops_once_is_gone_on_with(docker: Docker, fake: FakeRegistry) -> None:
    image = made()
    dropped: list[str] = []

    def drop(handler: Handler) -> bool:
        if image.layer(0) not in handler.path or dropped:
            return False
        dropped.append(handler.path)
        data = image.blobs[image.layer(0)]
        handler.answer(200, data[: len(data) // 2], Content_Length=str(len(data)))
        handler.close_connection = True
        return True

    fake.rules.append(drop)
    reference = fake.add("dropped", "1", image)
    docker("pull", reference)
    assert dropped
    docker("rmi", reference)


def test_a_registry_that_always_drops(hasty: Docker, fake: FakeRegistry) -> None:
    image = made()

    def drop(handler: Handler) -> bool:
        if image.layer(0) not in handler.path:
            return False
        handler.answer(200, b"", Content_Length="1000")
        handler.close_connection = True
        return True

    fake.rules.append(drop)
    before = files(hasty.engine)
    fails(hasty, fake.add("gone", "1", image), "broke off")
    until(lambda: files(hasty.engine) <= before + 2)


@pytest.mark.parametrize("where", ["/manifests/", "/blobs/"])
def test_a_registry_that_stalls(hasty: Docker, fake: FakeRegistry, where: str) -> None:
    """Its own time is bounded by the settings; what waits for it does not stay."""

    def stall(handler: Handler) -> bool:
        if where not in handler.path:
            return False
        handler.answer(200, b"x" * 10, Content_Length="5000")
        handler.wfile.flush()
        fake.released.wait(30)
        handler.close_connection = True
        return True

    fake.rules.append(stall)
    before = files(hasty.engine)
    fails(hasty, fake.add("slow", "1", made()), "sent nothing for 1 second")
    until(lambda: files(hasty.engine) <= before + 2)


def test_a_client_that_leaves_in_the_middle(hasty: Docker, fake: FakeRegistry) -> None:
    """The registry is slow; the client is killed; nothing is held for it afterwards."""
    image = made()

    def slow(handler: Handler) -> bool:
        if image.layer(0) in handler.path:
            fake.released.wait(2)
        return False

    fake.rules.append(slow)
    before = files(hasty.engine)
    client = hasty.open("pull", fake.add("left", "1", image))
    until(lambda: any(image.layer(0) in path for path in fake.paths()))
    client.send_signal(signal.SIGKILL)
    client.wait()
    until(lambda: files(hasty.engine) <= before + 2)


class Stall:
    """A rule of the registry: the first request that fits is answered bit by bit, or not at all, and `gone` is set when its sender goes."""

    def __init__(self, method: str, part: str, *, silent: bool) -> None:
        self._method, self._part, self._silent = method, part, silent
        self.reached = threading.Event()
        self.gone = threading.Event()

    def __call__(self, handler: Handler) -> bool:
        if handler.command != self._method or self._part not in handler.path or self.reached.is_set():
            return False
        if not self._silent:
            handler.answer(200, NOISE[:1000], Content_Length=str(len(NOISE)))
        self.reached.set()
        with suppress(ConnectionError):
            while not _ended(handler.connection):
                if not self._silent:
                    handler.connection.sendall(NOISE[:100])
        self.gone.set()
        handler.close_connection = True
        return True

    def ends_with(self, client: subprocess.Popen[bytes]) -> None:
        """See that the engine's connection goes when its client does."""
        assert self.reached.wait(30)
        assert not self.gone.is_set()
        client.send_signal(signal.SIGKILL)
        client.wait()
        assert self.gone.wait(10), "it goes on"


def _ended(stream: socket.socket) -> bool:
    """Whether the other side has closed its connection, after a moment's wait for that."""
    ready, _, _ = select.select([stream], [], [], 0.05)
    return bool(ready) and not stream.recv(1 << 16)


@pytest.fixture(params=[False, True], ids=["slow", "silent"])
def silent(request: pytest.FixtureRequest, engine: Engine) -> bool:
    """Whether a registry says nothing at all."""
    if request.param and engine.name == "dockerd":
        pytest.skip("dockerd waits for the registry's next byte")
    return bool(request.param)


def test_a_pull_ends_with_its_client(docker: Docker, fake: FakeRegistry, silent: bool) -> None:
    image = made()
    stall = Stall("GET", image.layer(0), silent=silent)
    fake.rules.append(stall)
    reference = fake.add("left", "2", image)
    stall.ends_with(docker.open("pull", reference))
    docker("image", "inspect", reference, code=1)
    docker("pull", reference)
    docker("rmi", reference)


@pytest.mark.parametrize(("method", "part"), [("HEAD", "/blobs/"), ("POST", "/blobs/uploads/")])
def test_a_push_ends_with_its_client(docker: Docker, engine: Engine, fake: FakeRegistry, image: str, method: str, part: str) -> None:
    if engine.name == "dockerd":
        pytest.skip("dockerd waits for the registry's next byte")
    reference = f"{fake.address}/left:3"
    docker("tag", image, reference)
    stall = Stall(method, part, silent=True)
    fake.rules.append(stall)
    stall.ends_with(docker.open("push", reference))
    assert ("left", "3") not in fake.manifests
    docker("push", reference)
    docker("rmi", reference)


def test_a_mirror_is_asked_first(engine: Engine, fake: FakeRegistry, tmp_path: Path) -> None:
    """As daemon.json's registry-mirrors say; what it lacks is asked of the registry itself, which cannot be reached here."""
    if engine.name != "gasang":
        pytest.skip("dockerd's settings are not ours")
    home = short_home("gasang")
    settings = {**SETTINGS, "registry-mirrors": [f"http://{fake.address}"], "insecure-registries": ["10.9.8.0/24", "old.example:5000"]}
    (home / "daemon.json").write_text(json.dumps(settings))
    own = ENGINES["gasang"](home)
    own.start()
    try:
        docker = Docker(own, tmp_path / "mirrored")
        fake.add("library/mirrored", "1", made())
        assert "Status: Downloaded newer image for mirrored:1" in docker("pull", "mirrored:1").lines
        assert docker("images", "--format", "{{.Repository}}:{{.Tag}}").lines == ["mirrored:1"]
        assert "registry-1.docker.io" in docker("pull", "mirrored:2", code=1).said
        assert any("library/mirrored/manifests/2" in path for path in fake.paths())
        shown = json.loads(docker("info", "--format", "{{json .RegistryConfig}}").out)
        assert shown["Mirrors"] == [f"http://{fake.address}"]
        assert "10.9.8.0/24" in shown["InsecureRegistryCIDRs"]
        assert shown["IndexConfigs"]["old.example:5000"]["Secure"] is False
    finally:
        own.stop()
        remove(home)


def test_settings_that_are_wrong_are_told_at_the_start(engine: Engine) -> None:
    if engine.name != "gasang":
        pytest.skip("dockerd's settings are not ours")
    from support.engines.engine import EngineError

    home = short_home("gasang")
    (home / "daemon.json").write_text('{"registry-mirrors": ["mirror.example"]}')
    try:
        with pytest.raises(EngineError, match=r"mirror.example.*that is no address"):
            ENGINES["gasang"](home).start()
    finally:
        remove(home)


RESULTS = [
    {"name": "tool", "description": "The tool.", "star_count": 90, "is_official": True, "is_automated": False},
    {"name": "someone/tool", "description": "Another\x1b[31m tool", "star_count": 7, "is_official": False, "is_automated": True},
    {"name": "noone/tool", "description": None, "star_count": 0, "is_official": False, "is_automated": False},
]


@pytest.fixture
def index(fake: FakeRegistry) -> FakeRegistry:
    """A registry that can be searched as Docker Hub can."""

    def find(handler: Handler) -> bool:
        parts = urlsplit(handler.path)
        if parts.path == "/v1/_ping":
            return handler.answer(200, b"{}")
        if parts.path != "/v1/search":
            return False
        asked = parse_qs(parts.query)
        found = [entry for entry in RESULTS if asked["q"][0] in str(entry["name"])][: int(asked.get("n", ["25"])[0])]
        document = {"num_results": len(found), "query": asked["q"][0], "results": found}
        return handler.answer(200, json.dumps(document).encode(), Content_Type="application/json")

    fake.rules.append(find)
    return fake


def test_search(docker: Docker, engine: Engine, index: FakeRegistry) -> None:
    term = f"{index.address}/tool"

    def names(*words: str) -> list[str]:
        return docker("search", "--format", "{{.Name}} {{.StarCount}} {{.IsOfficial}}", *words, term).lines

    assert names() == ["tool 90 [OK]", "someone/tool 7 ", "noone/tool 0 "]
    assert names("--limit", "1") == ["tool 90 [OK]"]
    assert names("--filter", "stars=5") == ["tool 90 [OK]", "someone/tool 7 "]
    assert names("--filter", "is-official=true") == ["tool 90 [OK]"]
    assert names("--filter", "is-official=false") == ["someone/tool 7 ", "noone/tool 0 "]
    assert "outside the range of [1, 100]" in docker("search", "--limit", "101", term, code=1).said
    assert "invalid filter" in docker("search", "--filter", "stars=many", term, code=1).said.lower()
    assert "invalid filter" in docker("search", "--filter", "colour=red", term, code=1).said.lower()
    if engine.name == "gasang":
        assert "\x1b" not in docker("search", "--no-trunc", term).text


def test_search_where_there_is_none(docker: Docker, engine: Engine, fake: FakeRegistry) -> None:
    said = docker("search", f"{fake.address}/tool", code=1).said
    assert ("has no search" if engine.name == "gasang" else "invalid registry endpoint|404") in said or engine.name == "dockerd"
    assert "refused" in docker("search", "localhost:1/tool", code=1).said
    assert "index.docker.io" in docker("search", "tool", code=1).said
