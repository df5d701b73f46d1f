"""One host for all tests of the room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.containers import Host


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    made = Host(tmp_path_factory.mktemp("containers"))
    yield made
    made.close()
