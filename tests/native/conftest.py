"""Compiled objects of these tests go to a cache of their own, empty at first."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GASANG_NATIVE_CACHE", str(tmp_path_factory.mktemp("native")))
        yield
