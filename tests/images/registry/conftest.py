"""Registries for tests: one in this process that misbehaves, and Debian's docker-registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.images.content.content import Content
from gasang.images.registry.settings import Patience, Registries
from support.engines.registry import Registry, program
from support.fake_registry import FakeRegistry, serving


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """A registry that can misbehave."""
    with serving() as registry:
        yield registry


@pytest.fixture
def content(tmp_path: Path) -> Content:
    """An empty store."""
    return Content(tmp_path / "store")


@pytest.fixture
def pauses() -> list[float]:
    """How long was waited between attempts."""
    return []


@pytest.fixture
def quick(pauses: list[float]) -> Registries:
    """Settings that do not wait between attempts."""
    return Registries(patience=Patience(connect=10.0, stall=10.0, attempts=3, pause=pauses.append))


@pytest.fixture(scope="session")
def real_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a docker-registry."""
    if not program():
        pytest.skip("docker-registry is not installed (Debian package docker-registry)")
    made = Registry(tmp_path_factory.mktemp("registry") / "open")
    yield made.host.replace("localhost", "127.0.0.1")
    made.close()
