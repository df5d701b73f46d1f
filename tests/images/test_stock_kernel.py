"""The kernel that tests and benchmarks boot: where it is taken from, and what is downloaded for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError
from gasang.core.progress import Silent
from gasang.images import store as parts
from gasang.images.mirror import Mirror, Patience
from gasang.images.store import Store
from support import stock_kernel as stock
from support.debian_archive import Archive, Server, Signer
from support.kernel_parts import riscv_image

NAME = "linux-image-6.12.1-riscv64"


@pytest.fixture
def fetch(tmp_path: Path, mirror_folder: Path, server: Server, signer: Signer) -> Callable[[], Path]:
    """Fetch from an archive with a kernel."""
    archive = Archive(mirror_folder)
    archive.add("linux-image-riscv64", f"Depends: {NAME}\n")
    archive.add(NAME, "Depends: kmod\n", {"boot/vmlinux-6.12.1-riscv64": riscv_image(b"kernel")})
    archive.add("kmod")
    archive.publish(signer.sign)
    mirror = Mirror(server.address, Patience(5.0, 2, lambda seconds: None))
    return lambda: stock.fetch(mirror, signer.keyring, tmp_path / "home" / "cache", Silent())


def test_it_is_fetched_and_kept(fetch: Callable[[], Path], tmp_path: Path, server: Server) -> None:
    kernel = fetch()
    assert kernel.read_bytes() == riscv_image(b"kernel")
    assert [path.name for path in kernel.parent.iterdir()] == [f"{NAME}.Image"]
    asked = [path for path, _ in server.requests]
    assert [path for path in asked if path.endswith(".deb")] == [f"pool/main/{NAME}_1.0-1_riscv64.deb"]
    assert stock.stock_kernel({"GASANG_HOME": str(tmp_path / "home")}, Silent()) == kernel
    assert len(server.requests) == len(asked)


def test_a_package_that_is_here_is_not_fetched_again(fetch: Callable[[], Path], server: Server) -> None:
    fetch().unlink()
    server.requests.clear()
    assert fetch().read_bytes() == riscv_image(b"kernel")
    assert [path for path, _ in server.requests] == ["dists/trixie/InRelease"]


def test_an_image_that_is_here_has_the_kernel(tmp_path: Path) -> None:
    store = Store(tmp_path / "data" / "images")
    with store.changing():
        layers = [store.add_bytes(b"the kernel", parts.KERNEL)]
        store.tag("debian:trixie", layers, {"kind": "vm"})
    assert stock.stock_kernel({"GASANG_HOME": str(tmp_path)}, Silent()).read_bytes() == b"the kernel"


def test_a_damaged_package_leaves_nothing(fetch: Callable[[], Path], tmp_path: Path, server: Server) -> None:
    path = f"pool/main/{NAME}_1.0-1_riscv64.deb"
    server.faults[path] = ["damage", "damage"]
    with pytest.raises(BadInputError):
        fetch()
    assert list((tmp_path / "home" / "cache" / "kernels").iterdir()) == []
