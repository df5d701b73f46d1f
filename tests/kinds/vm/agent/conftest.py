"""An agent for the tests of a file."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from support.agents import HostAgent, host_agent


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostAgent]:
    """One that is there for all of them. It changes users and roots: that is root's alone."""
    if os.geteuid() != 0 or os.uname().machine != "x86_64":
        pytest.skip("needs root, and an x86-64 processor")
    with host_agent(tmp_path_factory.mktemp("agent")) as made:
        yield made
