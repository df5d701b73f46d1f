"""Stopping the daemon in the middle of something: it does not wait for it, and leaves nothing of it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engines.client import Docker
from support.engines.engine import ENGINES, Engine, remove, short_home
from support.engines.rootfs import layer
from support.fake_registry import Handler, make_image, serving

SOON = {"gasang": 15.0, "dockerd": 30.0}
"""Seconds in which a daemon stops, dockerd with its containers; what it is in the middle of would take much longer."""


@pytest.fixture
def own(engine: Engine, base: bytes, tmp_path: Path) -> Iterator[tuple[Engine, Docker]]:
    """An engine that may be stopped, with an image, and its client."""
    home = short_home(engine.name)
    made = ENGINES[engine.name](home)
    made.start()
    client = Docker(made, tmp_path / "config")
    try:
        client("import", "--change", "ENV PATH=/bin", "-", "own", typed=base)
        client("run", "--rm", "own", "true")  # what a daemon makes ready for the first one, it has made then
        yield made, client
    finally:
        client.close()
        made.stop()
        remove(home)


def stops(engine: Engine) -> None:
    """See that it stops soon."""
    process = engine.process
    assert process is not None
    begin = time.monotonic()
    process.terminate()
    process.wait(60)
    assert time.monotonic() - begin < SOON[engine.name]
    engine.process = None


def output_of(client: subprocess.Popen[bytes], wanted: bytes) -> None:
    """Read what it prints up to a line with these words."""
    assert client.stdout is not None
    while wanted not in (line := client.stdout.readline()) or line.startswith(b"Step"):
        assert line, "it ended"


def test_in_the_middle_of_a_build(own: tuple[Engine, Docker]) -> None:
    engine, docker = own
    client = docker.open("build", "--no-cache", "-")
    assert client.stdin is not None
    client.stdin.write(b"FROM own\nRUN echo begun && sleep 1000\n")
    client.stdin.close()
    output_of(client, b"begun")
    stops(engine)
    assert client.wait(10) in (1, 137)  # as which end of it comes first: dockerd's step ends with its container
    engine.start()
    assert docker("ps", "-q").lines == []
    if engine.name == "gasang":  # dockerd keeps the container of a step that was broken off
        assert docker("ps", "-aq").lines == []


def test_in_the_middle_of_a_pull(own: tuple[Engine, Docker]) -> None:
    engine, docker = own
    image = make_image([layer({"file": b"x" * 100_000})], family="docker")
    reached = threading.Event()
    with serving() as fake:

        def stall(handler: Handler) -> bool:
            if image.layer(0) not in handler.path:
                return False
            reached.set()
            fake.released.wait(60)
            return True

        fake.rules.append(stall)
        client = docker.open("pull", fake.add("stopped", "1", image))
        assert reached.wait(30)
        stops(engine)
        assert client.wait(10) == 1
