"""A host of one's own for each test: a network namespace in which the test's thread lives meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.core.errors import PermissionDeniedError
from gasang.host import netns
from support.network_host import Host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host of one's own."""
    try:
        namespace = netns.create()
    except PermissionDeniedError:
        pytest.skip("network namespaces need root")
    with netns.entered(namespace):
        made = Host(tmp_path)
        try:
            yield made
        finally:
            made.stack.close()
            for networks in made.opened:
                networks.close()
            for each in made.namespaces:
                os.close(each)
    os.close(namespace)
