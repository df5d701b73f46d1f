"""Whether a registry is there: connections that are refused, names that do not resolve, and all that counts as an answer."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.images.registry import presence
from gasang.images.registry.presence import absence
from gasang.images.registry.settings import Registries
from support.fake_registry import FakeRegistry


@pytest.fixture
def nobody() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def mute(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address that takes connections and says nothing."""
    monkeypatch.setattr(presence, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []

        def take() -> None:
            taken.extend(listener.accept()[0] for _ in range(2))

        thread = threading.Thread(target=take)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        socket.create_connection(listener.getsockname()).close()
        thread.join()
        for connection in taken:
            connection.close()


def test_one_that_answers_is_there(fake: FakeRegistry) -> None:
    assert absence(fake.address) == ""


def test_nobody_at_the_address(nobody: str) -> None:
    assert absence(nobody) == os.strerror(errno.ECONNREFUSED).lower()


def test_one_that_says_nothing_is_there(mute: str) -> None:
    begun = time.monotonic()
    assert absence(mute) == ""
    assert time.monotonic() - begun < 5


def test_a_mirror_of_it_is_enough(nobody: str, fake: FakeRegistry) -> None:
    assert absence(nobody, Registries(mirrors={nobody: (f"http://{fake.address}",)})) == ""


def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object, **options: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert absence("docker.io") == "name or service not known"


def test_a_connection_that_nobody_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*arguments: object, **options: object) -> object:
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib3.util.connection.create_connection", late)
    assert absence("docker.io") == "no connection within 3 seconds"


def test_a_proxy_that_is_away(monkeypatch: pytest.MonkeyPatch, nobody: str, tmp_path: Path) -> None:
    monkeypatch.setenv("https_proxy", f"http://{nobody}")
    assert absence("docker.io") != ""
