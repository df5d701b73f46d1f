"""What the tests of the daemon share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from support.debian_archive import Signer


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    """A key that signs."""
    if shutil.which("gpg") is None or shutil.which("gpgconf") is None:
        pytest.skip("gpg makes the keys of this test, and it is not installed")
    made = Signer(tmp_path_factory.mktemp("key") / "home")
    yield made
    made.close()
