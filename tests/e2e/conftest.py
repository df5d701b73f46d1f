"""What the tests of whole commands share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.assembler import A0, A1, A6, A7, ECALL, ZERO, addi, assemble, lui
from support.command import Home
from support.debian_archive import Archive, Server, Signer, serving, small_debian
from support.kernels import image


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    return Home(tmp_path)


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    """A key that signs."""
    if shutil.which("gpg") is None or shutil.which("gpgconf") is None:
        pytest.skip("gpg makes the keys of this test, and it is not installed")
    made = Signer(tmp_path_factory.mktemp("key") / "home")
    yield made
    made.close()


def kernel_that_ends() -> bytes:
    """An Image that switches its machine off: SBI's system reset, a shutdown without reason."""
    number = (lui(A7, 0x5352_5000), ("addiw", {"rd": A7, "rs1": A7, "imm": 0x354}), addi(A6, ZERO, 0))
    return image(assemble(*number, addi(A0, ZERO, 0), addi(A1, ZERO, 0), ECALL))


@pytest.fixture
def archive(tmp_path: Path, signer: Signer) -> Archive:
    """A small Debian, signed, whose kernel only ends."""
    made = small_debian(tmp_path / "mirror", kernel_that_ends())
    made.publish(signer.sign)
    return made


@pytest.fixture
def server(archive: Archive, home: Home, signer: Signer) -> Iterator[Server]:
    """The archive on the loopback; the home's settings lead to it."""
    with serving(archive.root) as running:
        home.settings |= {"GASANG_MIRROR": running.address, "GASANG_KEYRING": str(signer.keyring)}
        yield running
