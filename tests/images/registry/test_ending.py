"""Transfers that nobody wants any more: they end at once, whatever they wait for, and what came is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from gasang.core.errors import NotFoundError
from gasang.images.containers import Containers
from gasang.images.content.content import Content
from gasang.images.reference import parse_reference
from gasang.images.registry.credentials import Keyring
from gasang.images.registry.ending import Cancelled, Ending
from gasang.images.registry.events import Event
from gasang.images.registry.platform import parse_platform
from gasang.images.registry.pull import pull
from gasang.images.registry.push import push
from gasang.images.registry.settings import Patience, Registries
from gasang.images.registry.tags import tags_of
from support.fake_registry import FakeRegistry, Handler, make_image
from support.tars import Item, archive

AMD64 = parse_platform("linux/amd64")
NOBODY = Keyring()
NOISE = bytes((index * 7919 + index // 251) % 256 for index in range(1 << 20))
SOON = 5.0
"""Seconds; what is waited for here would take at least twice as long."""


def test_who_was_added_is_called_once() -> None:
    ending, called = Ending(), []

    def first() -> None:
        called.append("first")

    def never() -> None:
        called.append("never")

    ending.add(first)
    ending.add(never)
    ending.discard(never)
    ending.check()
    ending.set()
    ending.set()
    assert called == ["first"]
    ending.add(lambda: called.append("late"))
    assert called == ["first", "late"]
    with pytest.raises(Cancelled):
        ending.check()


def test_a_block_ends_it() -> None:
    with Ending() as ending:
        ending.wait(0.001)
    with pytest.raises(Cancelled):
        ending.wait(1000.0)


class Stalling:
    """A rule of a registry: requests whose method and path fit get `sent` bytes of an answer, then nothing."""

    def __init__(self, fake: FakeRegistry, method: str, part: str, sent: int | None) -> None:
        self._fake, self._method, self._part, self._sent = fake, method, part, sent
        self.reached = threading.Event()

    def __call__(self, handler: Handler) -> bool:
        if handler.command != self._method or self._part not in handler.path:
            return False
        if self._sent is not None:
            handler.answer(200, NOISE[: self._sent], Content_Length=str(len(NOISE)))
        handler.wfile.flush()
        self.reached.set()
        self._fake.released.wait(20)
        handler.close_connection = True
        return True


def ended(work: Callable[[Registries], object], reached: threading.Event, *, patience: Patience | None = None) -> None:
    """Do the work in a thread, end it when the event is there, and see that it does."""
    found: list[BaseException] = []
    ending = Ending()

    def run() -> None:
        try:
            work(Registries(patience=patience or Patience(stall=20.0)).until(ending))
        except Cancelled as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert reached.wait(10)
    begin = time.monotonic()
    ending.set()
    thread.join(SOON)
    assert not thread.is_alive(), "it goes on"
    assert found
    assert time.monotonic() - begin < SOON


@pytest.fixture
def reference(fake: FakeRegistry) -> str:
    return fake.add("app", "1", make_image([archive([Item("noise", NOISE)])], compress=bytes, ending=""))


def bring(reference: str, content: Content) -> Callable[[Registries], object]:
    return lambda registries: pull(reference, content, platform=AMD64, keyring=NOBODY, registries=registries)


@pytest.mark.parametrize(
    ("part", "sent"), [("/v2/", None), ("/manifests/", None), ("/manifests/", 10), ("/blobs/", None), ("/blobs/", 1000)]
)
def test_a_pull(fake: FakeRegistry, reference: str, content: Content, part: str, sent: int | None) -> None:
    """Be it that the head of an answer is waited for, or the rest of its body."""
    stalling = Stalling(fake, "GET", part, sent)
    fake.rules.append(stalling)
    ended(bring(reference, content), stalling.reached)
    with pytest.raises(NotFoundError):
        Containers(content).find(reference)


def test_what_came_before_the_end_is_kept(fake: FakeRegistry, reference: str, content: Content) -> None:
    layer = next(digest for (_, digest), data in fake.blobs.items() if len(data) > 1 << 20)
    data = fake.blobs["app", layer]
    reached = threading.Event()

    def half(handler: Handler) -> bool:
        if layer not in handler.path:
            return False
        handler.answer(200, data[: len(data) // 2 + (1 << 19)], Content_Length=str(len(data)))
        handler.wfile.flush()
        reached.set()
        fake.released.wait(20)
        handler.close_connection = True
        return True

    fake.rules.append(half)
    ending = Ending()
    advanced = threading.Event()
    registries = Registries(patience=Patience(stall=20.0)).until(ending)

    def listen(event: Event) -> None:
        if event.current:
            advanced.set()

    def run() -> None:
        with pytest.raises(Cancelled):
            pull(reference, content, platform=AMD64, keyring=NOBODY, registries=registries, listener=listen)

    thread = threading.Thread(target=run)
    thread.start()
    assert reached.wait(10)
    assert advanced.wait(10)
    ending.set()
    thread.join(SOON)
    assert not thread.is_alive()
    fake.rules.clear()
    found = bring(reference, content)(Registries())
    assert found == Containers(content).find(reference)
    assert any(headers.get("Range") for _, path, headers in fake.asked if layer in path)


def test_a_pull_between_two_attempts(fake: FakeRegistry, reference: str, content: Content) -> None:
    asked = threading.Event()

    def busy(handler: Handler) -> bool:
        asked.set()
        return "/manifests/" in handler.path and handler.answer(503, Retry_After="60")

    fake.rules.append(busy)
    ended(bring(reference, content), asked)


@pytest.mark.parametrize(
    ("method", "part"), [("HEAD", "/blobs/"), ("POST", "/blobs/uploads/"), ("PUT", "/blobs/uploads/"), ("PUT", "/manifests/")]
)
def test_a_push(fake: FakeRegistry, reference: str, content: Content, method: str, part: str) -> None:
    bring(reference, content)(Registries())
    target = parse_reference(f"{fake.address}/other:2")
    Containers(content).tag(Containers(content).find(reference).manifest, target)
    stalling = Stalling(fake, method, part, None)
    fake.rules.append(stalling)
    ended(lambda registries: push(target, content, keyring=NOBODY, registries=registries), stalling.reached)
    assert ("other", "2") not in fake.manifests
    fake.rules.clear()
    push(target, content, keyring=NOBODY, registries=Registries())
    assert ("other", "2") in fake.manifests


def test_a_list_of_tags(fake: FakeRegistry, reference: str) -> None:
    stalling = Stalling(fake, "GET", "/tags/list", 10)
    fake.rules.append(stalling)
    ended(lambda registries: tags_of(parse_reference(reference), keyring=NOBODY, registries=registries), stalling.reached)
