"""Container images made into machines': where they come from, what is kept of them, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gasang.core.errors import GasangError, NotFoundError, UnsupportedError
from gasang.core.progress import Silent
from gasang.images import store as parts
from gasang.images.build import DISK_SIZE
from gasang.images.containers import Containers
from gasang.images.content.content import Content
from gasang.images.flat import import_tar
from gasang.images.origin import ContainerSource, Origin
from gasang.images.reference import parse_reference
from gasang.images.registry.platform import parse_platform
from gasang.images.registry.settings import Registries
from gasang.kinds.vm import converting, pull
from support.fake_registry import FakeRegistry, make_image, serving
from support.privileges import needs_root
from support.tars import Item, archive, packed

pytestmark = needs_root
RISCV64 = parse_platform("linux/riscv64")
CONFIG = {"architecture": "riscv64", "os": "linux", "config": {"Cmd": ["app"], "User": "web"}}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """GASANG_HOME, and a kernel that is at hand."""

    def boot(suite: str, architecture: str, cache: Path, folder: Path, progress: object, origin: object) -> tuple[Path, Path]:
        (folder / "kernel").write_bytes(f"{suite} {architecture}".encode())
        (folder / "initrd").write_bytes(b"initrd")
        return folder / "kernel", folder / "initrd"

    monkeypatch.setattr(converting, "build_boot", boot)
    monkeypatch.setenv("GASANG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def source(tmp_path: Path) -> ContainerSource:
    return ContainerSource(tmp_path / "containers", Registries())


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with serving() as made:
        yield made


def have(source: ContainerSource, content: bytes, platform: str = "linux/riscv64", **settings: Any) -> str:
    """Have app:1 among the host's container images; its id."""
    data = packed(archive([Item("file", content)]))
    reference = parse_reference("app:1")
    return import_tar([data], Content(source.store), reference, platform=parse_platform(platform), settings=settings).id


def ensure(source: ContainerSource | None, name: str = "app:1", **more: Any) -> Any:
    origin = Origin(containers=(lambda: source) if source is not None else None)
    return pull.ensure(name, Silent(), origin=origin, **more)


def test_an_image_of_this_host_is_made_once_and_again_when_it_is_another(source: ContainerSource) -> None:
    key = have(source, b"first", Cmd=["app"], User="web")
    image = ensure(source)
    assert image.config[pull.CONTAINER] == key
    process = {"entrypoint": [], "command": ["app"], "environment": [], "user": "web", "directory": ""}
    assert image.config["process"] == {**process, "ports": [], "health": None, "stop_signal": ""}
    store = pull.open_store()
    assert store.path(image.layer(parts.KERNEL)).read_bytes() == b"trixie riscv64"
    assert ensure(source).digest == image.digest
    have(source, b"second")
    assert ensure(None).digest == image.digest, "who does not ask has what is there"
    assert ensure(source).digest != image.digest
    files = pull.boot_files("app:1", Silent())
    assert files.disk.stat().st_size == DISK_SIZE
    assert files.process is not None


def test_one_of_another_architecture(source: ContainerSource) -> None:
    have(source, b"first", "linux/amd64")
    with pytest.raises(GasangError, match=r"image app:1: it is not here for linux/riscv64, and registry"):
        ensure(ContainerSource(source.store, Registries(mirrors={"docker.io": ("http://127.0.0.1:9",)})))


def test_a_registry_is_asked_and_nothing_but_the_machines_image_stays(source: ContainerSource, registry: FakeRegistry) -> None:
    here, there = make_image([archive([Item("file", b"x")])], config=CONFIG), make_image([archive([Item("file", b"y")])])
    platforms = [{"os": "linux", "architecture": name} for name in ("amd64", "riscv64")]
    name = registry.add_index("app", "1", list(zip((there, here), platforms, strict=True)))
    image = ensure(source, name)
    assert image.config["process"]["user"] == "web"
    assert Containers(pull.open_store()).images() == []
    assert [image.reference for image in pull.open_store().images()] == [name]
    only = registry.add("app", "other", there)
    with pytest.raises(UnsupportedError, match=r"it is for linux/amd64, and the machine is riscv64; choose the other with --arch"):
        ensure(source, only)
    assert Containers(pull.open_store()).images() == []
    with pytest.raises(NotFoundError):
        ensure(source, f"{registry.address}/nothing:1")


def test_without_a_source_only_suites_are_made() -> None:
    with pytest.raises(NotFoundError, match="it is not here, and only Debian suites are made"):
        ensure(None)
