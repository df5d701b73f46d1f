"""The engine, the client, the registry and the images of these tests: once a session. See README.md for what they need."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from support.engines import rootfs
from support.engines.client import Docker, docker_program
from support.engines.engine import ENGINES, Engine, OwnNetwork, remove, short_home
from support.engines.registry import Registry, program

IMAGE = "busybox:e2e"
LIMIT = 150


_network: list[OwnNetwork] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Each test of this folder, and what it sets up, is in one network namespace apart, so that engines do not disturb each other."""
    if _missing() or os.environ.get("GASANG_E2E_NETWORK") == "host":
        return (yield)
    if not _network:
        _network.append(OwnNetwork())
    _network[0].enter()
    try:
        return (yield)
    finally:
        _network[0].leave()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip all of it, by name, where something it needs is missing."""
    missing = _missing()
    here = Path(__file__).parent
    for item in items:
        if missing and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=missing))


def _missing() -> str:
    if os.geteuid() != 0:
        return "needs root"
    name = os.environ.get("GASANG_ENGINE", "gasang")
    wanted = {"docker-registry": "docker-registry"}
    if name == "dockerd" and not os.environ.get("GASANG_DOCKERD_BIN"):
        wanted["dockerd"] = "docker.io"
    lacking = [] if shutil.which(docker_program()) else ["a docker client"]
    lacking += [] if rootfs.busybox() else ["busybox-static"]
    lacking += [package for command, package in wanted.items() if not shutil.which(command)]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine that GASANG_ENGINE names (gasang, dockerd), running, with an empty state."""
    name = os.environ.get("GASANG_ENGINE", "gasang")
    home = short_home(name)
    found = ENGINES[name](home)
    try:
        found.start()
        yield found
    finally:
        found.stop()
        if not os.environ.get("GASANG_KEEP"):
            remove(home)


@pytest.fixture(scope="session")
def docker(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Docker:
    """The docker client, set to the engine, with an empty configuration."""
    return Docker(engine, tmp_path_factory.mktemp("docker-config"))


@pytest.fixture(scope="session")
def base() -> bytes:
    """The root file system of the image, as a tar archive."""
    return rootfs.busybox_layer()


@pytest.fixture(scope="session")
def image(docker: Docker, base: bytes) -> str:
    """An image with busybox and a shell as its command, imported."""
    docker("import", "--change", 'CMD ["sh"]', "--change", "ENV PATH=/bin", "--message", "for tests", "-", IMAGE, typed=base)
    return IMAGE


@pytest.fixture(scope="session")
def registry(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry without a password."""
    assert program()
    found = Registry(tmp_path_factory.mktemp("registry") / "open")
    yield found
    found.close()


@pytest.fixture(scope="session")
def guarded(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that asks for a name and a password."""
    found = Registry(tmp_path_factory.mktemp("registry") / "guarded", guarded=True)
    yield found
    found.close()


@pytest.fixture(autouse=True)
def _ended(docker: Docker) -> Iterator[None]:
    """No client outlives its test, and no test takes for ever, whatever it reads from."""

    def late(_number: int, _frame: object) -> None:
        raise AssertionError(f"not done within {LIMIT} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        docker.close()


_numbers = itertools.count(1)


@pytest.fixture
def box(docker: Docker) -> Iterator[Callable[[], str]]:
    """Makes names for containers; what has such a name is removed after the test, with its volumes."""
    made: list[str] = []

    def name() -> str:
        made.append(f"box{next(_numbers)}")
        return made[-1]

    yield name
    if made:
        docker("rm", "--force", "--volumes", *made, code=None)


@pytest.fixture
def name(box: Callable[[], str]) -> str:
    """A container's name for this test."""
    return box()


@pytest.fixture
def fresh(docker: Docker) -> Iterator[Callable[[str], str]]:
    """Makes names for other things of a kind (network, volume, image); what has such a name is removed after the test."""
    made: list[tuple[str, str]] = []

    def make(kind: str) -> str:
        found = f"{kind}{next(_numbers)}" + (":test" if kind == "image" else "")
        made.append((kind, found))
        return found

    yield make
    for kind, found in reversed(made):
        docker(kind, "rm", *(["--force"] if kind != "network" else []), found, code=None)
