"""Registries for tests: one in this process that misbehaves, and Debian's docker-registry."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.images.content.content import Content
from gasang.images.registry.settings import Patience, Registries
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
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed (Debian package docker-registry)")
    folder = tmp_path_factory.mktemp("registry")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = folder / "config.yml"
    settings.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\nhttp: {{addr: '{address}'}}\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(settings)], stdout=log, stderr=log)
    try:
        _wait(address, process)
        yield address
    finally:
        process.terminate()
        process.wait()


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            pytest.skip(f"docker-registry ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://{address}/v2/", timeout=1):
                return
        except OSError:
            time.sleep(0.05)  # there is nothing else to wait for
    pytest.fail("docker-registry does not answer")
