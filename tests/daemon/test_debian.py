"""Where an image of Debian comes from: what each setting makes of a reference, a platform, and a registry that is there or away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gasang.core.errors import NotFoundError
from gasang.daemon import debian
from gasang.daemon.debian import AsEvents, DebianImages, Making, suite_of
from gasang.images.containers import Containers
from gasang.images.content.content import Content
from gasang.images.layers.pack import pack_stream
from gasang.images.origin import AUTO, MIRROR, REGISTRY, Origin
from gasang.images.reference import parse_reference
from gasang.images.registry.events import Event
from gasang.images.registry.platform import Platform
from support.debian_archive import Archive, Server, Signer, serving
from support.privileges import needs_root

pytestmark = needs_root
Images = Callable[[str], DebianImages]
AWAY = "name or service not known"


@pytest.mark.parametrize(
    ("text", "suite"),
    [
        ("debian:trixie", "trixie"),
        ("debian", "latest"),
        ("docker.io/library/debian:sid", "sid"),
        ("debian:13", ""),
        ("debian:trixie-slim", ""),
        ("debian:trixie@sha256:" + "0" * 64, ""),
        ("ubuntu:noble", ""),
        ("library2/debian:trixie", ""),
        ("localhost:5000/library/debian:trixie", ""),
    ],
)
def test_which_suite_a_reference_means(text: str, suite: str) -> None:
    assert suite_of(parse_reference(text).qualified()) == suite


@pytest.fixture
def server(tmp_path: Path, signer: Signer) -> Iterator[Server]:
    """A mirror whose release file is right."""
    archive = Archive(tmp_path / "mirror", architecture="amd64")
    archive.add("apt", "Priority: required\n")
    archive.publish(signer.sign, Date="Sat, 12 Sep 2026 07:55:41 UTC")
    stable = tmp_path / "mirror/dists/stable"
    stable.symlink_to("trixie")
    with serving(archive.root) as running:
        yield running


@pytest.fixture
def images(tmp_path: Path, server: Server, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> Images:
    """A way to the images of a daemon with the setting `debian`, on an amd64 host that reaches no registry."""
    monkeypatch.setenv("GASANG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(debian, "absence", lambda registry: AWAY)
    monkeypatch.setattr(debian, "host_architecture", lambda: "amd64")
    content = Content(tmp_path / "home" / "images")
    return lambda how: DebianImages(content, Origin(server.address, signer.keyring, 5.0, how))


def choose(images: DebianImages, text: str, platform: Platform | None = None) -> Making | None:
    return images.choose(parse_reference(text).qualified(), platform)


def test_a_registry_that_is_away(images: Images, server: Server) -> None:
    made = choose(images(AUTO), "debian:trixie")
    assert made is not None
    assert made.reason == f"docker.io cannot be reached ({AWAY}): making debian:trixie from packages of {server.address} instead"
    assert (made.suite.name, made.suite.architecture) == ("trixie", "amd64")


def test_the_latest_is_the_stable_suite_by_its_own_name(images: Images) -> None:
    made = choose(images(AUTO), "debian")
    assert made is not None
    assert (made.suite.name, str(made.reference)) == ("trixie", "docker.io/library/debian:latest")


def test_a_registry_that_is_there_is_asked(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "absence", lambda registry: "")
    assert choose(images(AUTO), "debian:trixie") is None
    assert choose(images(MIRROR), "debian:trixie") is not None


def test_the_registry_alone(images: Images, server: Server) -> None:
    assert choose(images(REGISTRY), "debian:trixie") is None
    assert server.requests == []


@pytest.mark.parametrize("how", [AUTO, MIRROR])
@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("debian:13", None),
        ("busybox", None),
        ("debian:trixie", Platform("linux", "arm64")),
        ("debian:trixie", Platform("windows", "amd64")),
    ],
)
def test_what_only_a_registry_has(images: Images, how: str, text: str, platform: Platform | None) -> None:
    assert choose(images(how), text, platform) is None


def test_an_architecture_that_is_not_made(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "host_architecture", lambda: "")
    assert choose(images(MIRROR), "debian:trixie") is None


def test_both_are_named_when_both_fail(images: Images) -> None:
    with pytest.raises(NotFoundError, match=r"Debian potato: .* has no such suite, and docker.io cannot be reached \(name or service"):
        choose(images(AUTO), "debian:potato")
    with pytest.raises(NotFoundError, match=r"has no such suite; try"):
        choose(images(MIRROR), "debian:potato")


def test_an_image_of_the_registry_keeps_its_place(images: Images, tmp_path: Path) -> None:
    chooser = images(AUTO)
    containers = Containers(Content(tmp_path / "home" / "images"))
    reference = parse_reference("debian:trixie").qualified()
    with containers.content.leases.take() as lease:
        layer = pack_stream(containers.content, lease.hold, [bytes(1024)])
        config = {"rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}}
        manifest = containers.add(config, [layer.blob], lease.hold)
        containers.tag(manifest, reference, f"{reference.repository}@{manifest.digest}")
    assert choose(chooser, "debian:trixie") is None
    assert choose(chooser, "debian:stable") is not None


def test_steps_are_told_as_statuses_of_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "_OFTEN", 0.0)
    told: list[Event] = []
    progress = AsEvents("trixie", told.append)
    with progress.step("configuring packages", 3, "packages") as step:
        step.advance(2)
        step.advance(5)
    with progress.step("unpacking") as step:
        step.advance(1)
    title = "Configuring packages"
    assert told == [
        Event("trixie", title),
        Event("trixie", title, 2, 3, "packages"),
        Event("trixie", title, 3, 3, "packages"),
        Event("trixie", title, 3, 3, "packages"),
        Event("trixie", "Unpacking"),
    ]


def test_a_step_that_fails_is_not_told_as_done() -> None:
    told: list[Event] = []
    with pytest.raises(ZeroDivisionError), AsEvents("sid", told.append).step("downloading", 9, "bytes"):
        raise ZeroDivisionError
    assert told == [Event("sid", "Downloading")]
