"""Pulling: the image is there, whole and right, or a sentence says why not, and what came is kept."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from gasang.core.errors import BadInputError, GasangError, NotFoundError, PermissionDeniedError, TimedOutError, UnsupportedError
from gasang.images.containers import Containers
from gasang.images.content.content import Content
from gasang.images.content.garbage import collect
from gasang.images.registry.credentials import Credentials, Keyring
from gasang.images.registry.events import Event, Status
from gasang.images.registry.platform import parse_platform
from gasang.images.registry.pull import pull
from gasang.images.registry.settings import Patience, Registries
from support.fake_registry import FakeRegistry, Handler, Made, digest_of, make_image
from support.tars import Item, archive, packed

AMD64 = parse_platform("linux/amd64")
NOBODY = Keyring()
NOISE = bytes((index * 7919 + index // 251) % 256 for index in range(3 << 20))


def image(*texts: bytes, **options: object) -> Made:
    layers = [archive([Item(f"file{index}", text)]) for index, text in enumerate(texts)]
    return make_image(layers, **options)  # type: ignore[arg-type]


@pytest.fixture
def get(content: Content, quick: Registries) -> Callable[..., object]:
    def run(reference: str, **options: object) -> object:
        return pull(reference, content, **{"platform": AMD64, "keyring": NOBODY, "registries": quick, **options})  # type: ignore[arg-type]

    return run


def settled() -> None:
    for thread in threading.enumerate():
        if thread.name == "settle":
            thread.join()


def held(content: Content, found: object) -> dict[str, bytes]:
    paths = Containers(content).layers_of(found)  # type: ignore[arg-type]
    return {path.name: path.read_bytes() for layer in paths for path in layer.iterdir()}


@pytest.mark.parametrize("family", ["oci", "docker"])
@pytest.mark.parametrize(
    ("compress", "ending"),
    [(packed, "gzip"), (zstandard.compress, "zstd"), (bytes, ""), (lambda data: packed(data[:700]) + packed(data[700:]), "gzip")],
    ids=["gzip", "zstd", "stored", "two gzip members"],
)
def test_images_of_all_kinds(
    family: str, compress: Callable[[bytes], bytes], ending: str, fake: FakeRegistry, get: Callable[..., object], content: Content
) -> None:
    made = image(b"zero", NOISE, family=family, compress=compress, ending=ending)
    name = fake.add("some/app", "1.0", made)
    found = get(name)
    assert found == Containers(content).find(name)
    assert (found.id, found.digest, found.references) == (digest_of(made.config), made.digest, (name,))
    assert found.repository_digests == (f"{fake.address}/some/app@{made.digest}",)
    assert found.diff_ids == tuple(made.diff_ids)
    assert held(content, found) == {"file0": b"zero", "file1": NOISE}
    assert Containers(content).size(found) == 4 + len(NOISE)
    settled()
    assert content.leases.files() == []
    assert list(content.ingests.iterdir()) == []


def test_what_is_here_is_not_fetched_again(fake: FakeRegistry, get: Callable[..., object], content: Content) -> None:
    shared = [archive([Item("base", NOISE)])]
    first = make_image([*shared, archive([Item("a", b"a")])])
    second = make_image([*shared, archive([Item("b", b"b")])])
    get(fake.add("one", "1", first))
    events: list[Event] = []
    get(fake.add("two", "1", second), listener=events.append)
    assert sum(first.layer(0) in path for path in fake.paths()) == 1
    status = {event.layer: event.status for event in events}
    assert sorted(status.values()) == [Status.HERE, Status.PULLED]
    assert len(list(content.layers.glob("[0-9a-f]*"))) == 3


def test_events_tell_each_layers_course(fake: FakeRegistry, get: Callable[..., object]) -> None:
    made = image(NOISE)
    events: list[Event] = []
    get(fake.add("x", "1", made), listener=events.append)
    course = list(dict.fromkeys(event.status for event in events))
    assert course[:2] == [Status.PULLING, Status.DOWNLOADING]
    assert course[-1] == Status.PULLED
    assert {Status.DOWNLOADED, Status.EXTRACTING} < set(course)
    size = len(made.blobs[made.layer(0)])
    amounts = [event.current for event in events if event.status == Status.DOWNLOADING]
    assert amounts == sorted(amounts)
    assert amounts[-1] == size
    assert {event.total for event in events if event.status == Status.EXTRACTING} == {size}


def test_the_platform_is_chosen(fake: FakeRegistry, get: Callable[..., object]) -> None:
    amd, arm6, arm7 = image(b"amd"), image(b"arm6"), image(b"arm7")
    name = fake.add_index(
        "multi",
        "1",
        [
            (amd, {"os": "linux", "architecture": "amd64"}),
            (arm6, {"os": "linux", "architecture": "arm", "variant": "v6"}),
            (arm7, {"os": "linux", "architecture": "arm", "variant": "v7"}),
            (image(b"attestation"), {"os": "unknown", "architecture": "unknown"}),
        ],
    )
    found = {
        text: get(name, platform=parse_platform(text)).digest for text in ("linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm/v8")
    }
    assert found == {"linux/amd64": amd.digest, "linux/arm/v6": arm6.digest, "linux/arm/v7": arm7.digest, "linux/arm/v8": arm7.digest}
    with pytest.raises(
        NotFoundError, match=r"there is none for linux/s390x; there is one for linux/amd64, linux/arm/v6, linux/arm/v7; name it"
    ):
        get(name, platform=parse_platform("linux/s390x"))
    index = digest_of(fake.manifests["multi", "1"][1])
    assert get(name).repository_digests == (f"{fake.address}/multi@{index}",)


def test_by_digest(fake: FakeRegistry, get: Callable[..., object], content: Content) -> None:
    made = image(b"x")
    fake.add("app", "1", made)
    name = f"{fake.address}/app@{made.digest}"
    assert get(name).references == (name,)
    assert Containers(content).find(name).digest == made.digest
    other = image(b"y")
    fake.manifests["app", made.digest] = (other.media_type, other.manifest)
    with pytest.raises(BadInputError, match="its manifest has another digest than it should"):
        get(name)


def test_a_new_image_of_a_name_leaves_the_old_one_nameless(fake: FakeRegistry, get: Callable[..., object], content: Content) -> None:
    old, new = image(b"old"), image(b"new")
    get(fake.add("app", "1", old))
    name = fake.add("app", "1", new)
    get(name)
    containers = Containers(content)
    assert {shown.digest: shown.references for shown in containers.images()} == {old.digest: (), new.digest: (name,)}
    gone, freed = containers.prune()
    assert [shown.digest for shown in gone] == [old.digest]
    assert freed >= len(old.config)
    assert held(content, containers.find(name)) == {"file0": b"new"}
    assert not containers.layers.has(old.diff_ids[0])


# registries that misbehave


def once(*rules: Callable[[Handler], bool]) -> Callable[[Handler], bool]:
    """Rules for the first requests of blobs, one each."""
    left = list(rules)
    lock = threading.Lock()

    def rule(handler: Handler) -> bool:
        if handler.command != "GET" or "/blobs/sha256" not in handler.path:
            return False
        with lock:
            following = left.pop(0) if left else None
        return following(handler) if following else False

    return rule


def status(code: int, **headers: str) -> Callable[[Handler], bool]:
    return lambda handler: handler.answer(code, b"{}", **headers)


def dropped(made: Made, count: int) -> Callable[[Handler], bool]:
    """Send some of a blob, then hang up."""

    def rule(handler: Handler) -> bool:
        data = made.blobs[handler.path.rpartition("/")[2]]
        start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
        code, extra = (206, {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}) if start else (200, {})
        handler.answer(code, data[start : start + count], Content_Length=str(len(data) - start), **extra)
        handler.close_connection = True
        return True

    return rule


def test_errors_that_pass(fake: FakeRegistry, get: Callable[..., object], content: Content, pauses: list[float]) -> None:
    made = image(NOISE)
    fake.rules.append(once(lambda handler: False, status(500), status(429, Retry_After="7"), status(503)))
    name = fake.add("app", "1", made)
    get(name, registries=Registries(patience=Patience(attempts=4, pause=pauses.append)))
    assert pauses == [0.25, 7.0, 1.0]


def test_a_connection_that_drops_is_gone_on_with(fake: FakeRegistry, get: Callable[..., object], content: Content) -> None:
    made = image(NOISE, compress=bytes, ending="")
    fake.rules.append(once(lambda handler: False, dropped(made, 1 << 20), dropped(made, 1 << 20)))
    found = get(fake.add("app", "1", made))
    assert held(content, found) == {"file0": NOISE}
    ranges = [headers.get("Range") for verb, path, headers in fake.asked if made.layer(0) in path]
    assert ranges == [None, f"bytes={1 << 20}-", f"bytes={2 << 20}-"]


def test_a_registry_without_ranges_begins_anew(fake: FakeRegistry, get: Callable[..., object], content: Content) -> None:
    made = image(NOISE, compress=bytes, ending="")
    whole = lambda handler: handler.answer(200, made.blobs[made.layer(0)])  # noqa: E731
    fake.rules.append(once(lambda handler: False, dropped(made, 1 << 20), whole))
    assert held(content, get(fake.add("app", "1", made))) == {"file0": NOISE}


def test_what_came_is_kept_for_the_next_time(fake: FakeRegistry, get: Callable[..., object], content: Content) -> None:
    made = image(NOISE, compress=bytes, ending="")
    name = fake.add("app", "1", made)
    rule = once(lambda handler: False, dropped(made, 2 << 20), *[dropped(made, 0)] * 3)
    fake.rules.append(rule)
    with pytest.raises(GasangError, match="broke off again and again"):
        get(name)
    fake.rules.clear()
    fake.asked.clear()
    get(name)
    assert [headers.get("Range") for _, path, headers in fake.asked if made.layer(0) in path] == [f"bytes={2 << 20}-"]


def test_a_registry_that_stalls(fake: FakeRegistry, get: Callable[..., object], pauses: list[float]) -> None:
    made = image(NOISE, compress=bytes, ending="")

    def stall(handler: Handler) -> bool:
        if made.layer(0) not in handler.path:
            return False
        handler.answer(200, b"x" * 10, Content_Length=str(len(made.blobs[made.layer(0)])))
        handler.wfile.flush()
        fake.released.wait(20)
        handler.close_connection = True
        return True

    fake.rules.append(stall)
    before = time.monotonic()
    with pytest.raises(TimedOutError, match="it sent nothing for 0 seconds; try again: what came is kept"):
        get(fake.add("app", "1", made), registries=Registries(patience=Patience(stall=0.5, attempts=3, pause=pauses.append)))
    assert time.monotonic() - before < 20


def test_errors_that_do_not_pass(fake: FakeRegistry, get: Callable[..., object], pauses: list[float]) -> None:
    fake.rules.append(lambda handler: "/manifests/" in handler.path and handler.answer(500))
    with pytest.raises(GasangError, match=r"image app:1: 127.0.0.1:\d+ answers 500; try again later"):
        get(f"{fake.address}/app:1")
    assert len(pauses) == 2
    fake.rules[:] = [lambda handler: "/manifests/" in handler.path and handler.answer(429, b'{"errors":[{"message":"slow\\ndown"}]}')]
    with pytest.raises(GasangError, match=r"refuses more requests for now \(slow\?down\)"):
        get(f"{fake.address}/app:1")
    fake.rules.clear()
    with pytest.raises(NotFoundError, match=r"it is not in the registry 127.0.0.1:\d+ \(manifest unknown\); check its name and tag"):
        get(f"{fake.address}/app:1")
    with pytest.raises(GasangError, match=r"registry localhost:1: it cannot be reached \(Connection refused\)"):
        get("localhost:1/app")


def test_another_digest(fake: FakeRegistry, get: Callable[..., object], content: Content) -> None:
    made = image(NOISE, b"second", compress=bytes, ending="")
    name = fake.add("app", "1", made)
    right = fake.blobs["app", made.layer(0)]
    wrong = bytearray(right)
    wrong[1 << 20] ^= 1
    fake.blobs["app", made.layer(0)] = bytes(wrong)
    with pytest.raises(BadInputError, match=r"another digest"):
        get(name)
    assert Containers(content).images() == []
    assert not content.path(made.layer(0)).exists()
    assert not Containers(content).layers.has(made.diff_ids[0])
    fake.blobs["app", made.layer(0)] = right
    assert held(content, get(name)) == {"file0": NOISE, "file1": b"second"}


def test_another_diff_id(fake: FakeRegistry, get: Callable[..., object], content: Content) -> None:
    made = image(b"x", diff_ids=["sha256:" + "0" * 64])
    with pytest.raises(BadInputError, match="its unpacked content has another digest than the image says"):
        get(fake.add("app", "1", made))
    assert list(content.layers.iterdir()) == []


@pytest.mark.parametrize("cut", [-1, -8, -9, 200])
def test_a_truncated_layer(cut: int, fake: FakeRegistry, get: Callable[..., object], content: Content) -> None:
    """The manifest's digest is that of the truncated blob: only unpacking can tell."""
    made = image(NOISE, compress=lambda data: packed(data)[:cut])
    with pytest.raises(BadInputError, match=r"compressed data is damaged|another digest|ends early"):
        get(fake.add("app", "1", made))
    assert list(content.layers.iterdir()) == []
    collect(content)
    settled()


def test_a_blob_longer_and_shorter_than_said(fake: FakeRegistry, get: Callable[..., object]) -> None:
    made = image(NOISE, compress=bytes, ending="")
    name = fake.add("app", "1", made)
    right = fake.blobs["app", made.layer(0)]
    fake.blobs["app", made.layer(0)] = right + b"more"
    with pytest.raises(BadInputError, match="more comes than its descriptor says"):
        get(name)
    fake.blobs["app", made.layer(0)] = right[:-1000]
    with pytest.raises(GasangError, match=r"sends less of it than its manifest says|416|answers"):
        get(name)


def test_hostile_layers(fake: FakeRegistry, get: Callable[..., object], content: Content, tmp_path: Path) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    made = make_image([archive([Item("../../../../escaped", b"x")])])
    with pytest.raises(BadInputError, match="climbs out of the image"):
        get(fake.add("app", "1", made))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({*before, "store"})
    assert list(content.layers.iterdir()) == []


DOCUMENTS = {
    "no JSON": (b"{", "its manifest is no JSON object"),
    "a list": (b"[]", "its manifest is no JSON object"),
    "schema 1": (b'{"schemaVersion":1}', "of the old kind, schema 1"),
    "no config": (b'{"schemaVersion":2,"layers":[]}', "a descriptor in it is damaged"),
    "another kind": (
        json.dumps(
            {"schemaVersion": 2, "config": {"mediaType": "text/helm", "digest": "sha256:" + "0" * 64, "size": 2}, "layers": []}
        ).encode(),
        "it is no container image but text/helm",
    ),
    "an empty index": (b'{"manifests":[]}', "there is none for linux/amd64"),
    "a damaged index": (b'{"manifests":[1]}', "a descriptor in it is damaged"),
    "an index of nothing": (b'{"manifests":{}}', "its index is damaged"),
}


@pytest.mark.parametrize(("raw", "cause"), DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_damaged_documents(raw: bytes, cause: str, fake: FakeRegistry, get: Callable[..., object]) -> None:
    fake.manifests["app", "1"] = ("application/json", raw)
    with pytest.raises((BadInputError, UnsupportedError, NotFoundError), match=cause):
        get(f"{fake.address}/app:1")


def test_a_configuration_of_other_layers(fake: FakeRegistry, get: Callable[..., object]) -> None:
    made = image(b"x", config={"rootfs": {"type": "layers", "diff_ids": []}})
    with pytest.raises(BadInputError, match="its configuration does not list its layers"):
        get(fake.add("app", "1", made))


# being let in


def guarded(fake: FakeRegistry, realm: str = "http://{address}/token") -> list[dict[str, str]]:
    """Have the registry ask for tokens; what its server of tokens was asked."""
    asked: list[dict[str, str]] = []

    def rule(handler: Handler) -> bool:
        if handler.path.startswith("/token"):
            asked.append({"path": handler.path, "authorization": handler.headers.get("Authorization", ""), "body": handler.body().decode()})
            if asked[-1]["authorization"] == "Basic " + base64.b64encode(b"me:wrong").decode():
                return handler.answer(401)
            return handler.answer(200, b'{"token":"open sesame"}')
        if handler.headers.get("Authorization") != "Bearer open sesame":
            challenge = f'Bearer realm="{realm.format(address=fake.address)}",service="registry",scope="repository:app:pull"'
            return handler.answer(401, b"{}", WWW_Authenticate=challenge)
        return False

    fake.rules.append(rule)
    return asked


def test_tokens(fake: FakeRegistry, get: Callable[..., object], content: Content) -> None:
    asked = guarded(fake)
    name = fake.add("app", "1", image(b"one", b"two"))
    get(name)
    assert asked == [{"path": "/token?service=registry&scope=repository%3Aapp%3Apull&client_id=gasang", "authorization": "", "body": ""}]
    get(name, keyring=Keyring.only(fake.address, Credentials("me", "secret")))
    assert asked[-1]["authorization"] == "Basic " + base64.b64encode(b"me:secret").decode()
    get(name, keyring=Keyring.only(fake.address, Credentials(identity_token="refresh me")))
    assert "grant_type=refresh_token&refresh_token=refresh+me" in asked[-1]["body"]
    count = len(asked)
    get(name, keyring=Keyring.only(fake.address, Credentials(registry_token="open sesame")))
    assert len(asked) == count
    with pytest.raises(PermissionDeniedError, match=r"it does not let us in \(401\)"):
        get(name, keyring=Keyring.only(fake.address, Credentials("me", "wrong")))


def test_basic(fake: FakeRegistry, get: Callable[..., object]) -> None:
    right = Credentials("me", "pass:word")

    def rule(handler: Handler) -> bool:
        return handler.headers.get("Authorization") != right.basic() and handler.answer(401, WWW_Authenticate='Basic realm="x"')

    fake.rules.append(rule)
    name = fake.add("app", "1", image(b"one"))
    get(name, keyring=Keyring.only(fake.address, right))
    for wrong in (NOBODY, Keyring.only(fake.address, Credentials("me", "guess"))):
        with pytest.raises(PermissionDeniedError, match=r"unauthorized: access is denied by 127.0.0.1:\d+; check its name, or log in to"):
            get(name, keyring=wrong)


def test_credentials_do_not_follow_a_redirection(fake: FakeRegistry, get: Callable[..., object]) -> None:
    guarded(fake)
    made = image(NOISE)
    name = fake.add("app", "1", made)
    port = fake.address.partition(":")[2]

    def redirect(handler: Handler) -> bool:
        if made.layer(0) not in handler.path:
            return False
        if handler.headers["Host"].startswith("localhost"):
            return handler.answer(200, made.blobs[made.layer(0)])
        return handler.answer(307, Location=f"http://localhost:{port}/elsewhere/{made.layer(0)}")

    fake.rules.insert(0, redirect)
    get(name)
    away = [headers for _, path, headers in fake.asked if path.startswith("/elsewhere")]
    assert len(away) == 1
    assert "Authorization" not in away[0]
    fake.rules[0] = lambda handler: "/manifests/" in handler.path and handler.answer(302, Location="file:///etc/passwd")
    with pytest.raises(BadInputError, match="redirects to where we do not go"):
        get(name)
    fake.rules[0] = lambda handler: "/manifests/" in handler.path and handler.answer(302, Location=handler.path)
    with pytest.raises(BadInputError, match="redirects without end"):
        get(name)


def test_a_realm_that_is_no_address(fake: FakeRegistry, get: Callable[..., object]) -> None:
    guarded(fake, "file:///etc/shadow")
    with pytest.raises(BadInputError, match="it names no proper server of tokens"):
        get(fake.add("app", "1", image(b"x")))


def test_mirrors_are_asked_first(fake: FakeRegistry, get: Callable[..., object], quick: Registries) -> None:
    made = image(b"x")
    fake.add("library/debian", "12", made)
    settings = Registries(mirrors={"docker.io": ("http://localhost:1", f"http://{fake.address}")}, patience=quick.patience)
    found = get("debian:12", registries=settings)
    assert found.references == ("docker.io/library/debian:12",)
    assert found.repository_digests == (f"docker.io/library/debian@{made.digest}",)


def test_two_pulls_at_once_fetch_a_layer_once(fake: FakeRegistry, get: Callable[..., object]) -> None:
    made = image(NOISE, b"x")
    name = fake.add("app", "1", made)
    faults: list[BaseException] = []

    def run() -> None:
        try:
            get(name)
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sum(made.layer(0) in path for path in fake.paths()) == 1


def test_nothing_stays_open(fake: FakeRegistry, get: Callable[..., object]) -> None:
    made = image(NOISE, b"x")
    name = fake.add("app", "1", made)
    get(name)
    settled()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        get(name)
    fake.blobs["bad", made.layer(0)] = b"short"
    settled()
    assert len(os.listdir("/proc/self/fd")) <= before + 1
