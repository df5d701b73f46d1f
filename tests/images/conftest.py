"""What the tests of images share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.debian_archive import Server, Signer, serving


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    """A key that signs; tests that need one are skipped where GnuPG is missing."""
    if shutil.which("gpg") is None or shutil.which("gpgconf") is None:
        pytest.skip("gpg makes the keys of this test, and it is not installed")
    made = Signer(tmp_path_factory.mktemp("key") / "home")
    yield made
    made.close()


@pytest.fixture
def mirror_folder(tmp_path: Path) -> Path:
    """The folder that `server` serves."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    return folder


@pytest.fixture
def server(mirror_folder: Path) -> Iterator[Server]:
    """A mirror on the loopback."""
    with serving(mirror_folder) as running:
        yield running
