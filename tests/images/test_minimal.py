"""A container image from a small archive: what is in it, when it is made anew, and what is left when that fails."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gasang.core.errors import BadInputError
from gasang.core.progress import Progress, Silent
from gasang.images.configuring import Unconfigured
from gasang.images.containers import ContainerImage, Containers
from gasang.images.content.content import Content
from gasang.images.minimal import PACKAGES, make_image
from gasang.images.mirror import Mirror, Patience
from gasang.images.origin import Origin
from gasang.images.reference import parse_reference
from gasang.images.suite import fetch_suite
from support.debian_archive import Archive, Server, Signer
from support.privileges import needs_root

pytestmark = needs_root
DATE = "Sat, 12 Sep 2026 07:55:41 UTC"
SECONDS = 1_789_199_741
REFERENCE = parse_reference("debian:trixie").qualified()


class Scripts:
    """Stands in for what runs packages' scripts; `act` does what they would."""

    def __init__(self) -> None:
        self.orders: list[Unconfigured] = []
        self.forgotten: list[Path] = []
        self.act: Callable[[Path], None] = lambda root: (root / "etc/configured").write_text("yes\n") and None

    def configure(self, order: Unconfigured, progress: Progress) -> None:
        self.orders.append(order)
        self.act(order.root)

    def forget(self, folder: Path) -> None:
        self.forgotten.append(folder)


@pytest.fixture
def scripts() -> Scripts:
    return Scripts()


@pytest.fixture
def archive(mirror_folder: Path, signer: Signer) -> Archive:
    made = Archive(mirror_folder, architecture="amd64")
    made.add("base-files", "Essential: yes\nDepends: libc6\n", {"usr/bin/sh": b"shell", "etc/motd": b"hello"})
    made.add("libc6", "Multi-Arch: same\n", {"usr/lib/libc.so": b"library"})
    made.add("apt", "Priority: required\n", {"usr/bin/apt": b"apt"})
    made.add("linux-image-amd64")
    made.publish(signer.sign, Date=DATE, Version="13.7")
    return made


Make = Callable[..., ContainerImage]


@pytest.fixture
def make(tmp_path: Path, server: Server, archive: Archive, signer: Signer, scripts: Scripts) -> Make:
    def made(home: str = "home") -> ContainerImage:
        cache = tmp_path / home / "cache"
        mirror = Mirror(server.address, Patience(5.0, 2, lambda seconds: None))
        suite = fetch_suite("trixie", "amd64", cache, Silent(), Origin(keyring=signer.keyring), mirror=mirror)
        return make_image(suite, REFERENCE, Content(tmp_path / home / "images"), cache, Silent(), scripts)

    return made


def tree(tmp_path: Path, image: ContainerImage, home: str = "home") -> Path:
    """The image's only layer, unpacked."""
    (layer,) = Containers(Content(tmp_path / home / "images")).layers_of(image)
    return layer


def test_what_is_in_it(make: Make, scripts: Scripts, tmp_path: Path, server: Server) -> None:
    image = make()
    assert image.references == ("docker.io/library/debian:trixie",)
    assert str(image.platform) == "linux/amd64"
    assert image.created == "2026-09-12T07:55:41Z"
    assert image.config["config"]["Cmd"] == ["bash"]
    assert image.config["config"]["Labels"]["org.opencontainers.image.version"] == "13.7"
    (step,) = image.history
    assert step["comment"] == f"Debian 13.7 of {DATE}, 3 packages from {server.address}"
    root = tree(tmp_path, image)
    assert (root / "etc/configured").read_text() == "yes\n"
    assert (root / "usr/bin/sh").read_bytes() == b"shell"
    assert os.readlink(root / "lib64") == "usr/lib64"
    assert not (root / "boot").exists()
    assert "/dev/vda" not in (root / "etc/fstab").read_text()
    (order,) = scripts.orders
    assert (order.packages, order.services, order.time, order.subject) == (3, False, SECONDS, "image debian:trixie")


def test_the_same_packages_make_the_same_image(make: Make, tmp_path: Path) -> None:
    first = make()
    second = make("another")
    assert (first.id, first.digest) == (second.id, second.digest)
    assert (tree(tmp_path, second, "another") / "etc/configured").stat().st_mtime == SECONDS


def test_a_second_one_is_not_made(make: Make, scripts: Scripts, server: Server, tmp_path: Path) -> None:
    image = make()
    server.requests.clear()
    assert make() == image
    assert [path for path, _ in server.requests] == ["dists/trixie/InRelease"]
    assert len(scripts.orders) == 1


def test_new_packages_make_a_new_one(make: Make, archive: Archive, signer: Signer, tmp_path: Path) -> None:
    image = make()
    archive.without("apt")
    archive.add("apt", "Priority: required\n", {"usr/bin/apt": b"newer"})
    archive.publish(signer.sign, Date=DATE, Version="13.7")
    newer = make()
    assert newer.id != image.id
    assert newer.references == image.references
    assert (tree(tmp_path, newer) / "usr/bin/apt").read_bytes() == b"newer"


def test_an_image_made_of_ours_is_not_taken_for_it(make: Make, scripts: Scripts, tmp_path: Path) -> None:
    image = make()
    containers = Containers(Content(tmp_path / "home" / "images"))
    config: dict[str, Any] = json.loads(json.dumps(image.config))
    config["history"].append({"created_by": "CMD", "empty_layer": True})
    with containers.content.leases.take() as lease:
        containers.tag(containers.add(config, list(image.layers), lease.hold), REFERENCE)
    assert config["config"]["Labels"][PACKAGES]
    assert make().id == image.id
    assert len(scripts.orders) == 2


def test_scripts_that_fail_leave_nothing_but_downloads(make: Make, scripts: Scripts, tmp_path: Path) -> None:
    def fail(root: Path) -> None:
        raise BadInputError("image debian:trixie", "package apt: it failed")

    scripts.act = fail
    with pytest.raises(BadInputError, match="package apt"):
        make()
    home = tmp_path / "home"
    left = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file() and path.stat().st_size}
    assert left == {f"cache/packages/amd64/{name}_1.0-1_amd64.deb" for name in ("apt", "base-files", "libc6")} | {
        "cache/packages/amd64/Packages-trixie.xz"
    }
    scripts.act = lambda root: None
    assert make().references


def test_what_a_killed_one_left_is_cleared_away(make: Make, scripts: Scripts, tmp_path: Path) -> None:
    left = tmp_path / "home" / "cache" / "debian-killed"
    (left / "root").mkdir(parents=True)
    make()
    assert scripts.forgotten == [left]
    assert not left.exists()


def test_links_that_scripts_leave_are_links(make: Make, scripts: Scripts, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")

    def act(root: Path) -> None:
        (root / "etc/out").symlink_to(outside)
        (root / "etc/file").symlink_to(outside / "secret")

    scripts.act = act
    root = tree(tmp_path, make())
    assert os.readlink(root / "etc/out") == str(outside)
    assert os.readlink(root / "etc/file") == str(outside / "secret")
