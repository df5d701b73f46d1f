"""A host of one's own for each test: a network namespace in which the test's thread lives meanwhile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.core.errors import PermissionDeniedError
from gasang.host import netns
from gasang.host.nftables import Netfilter
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


@pytest.fixture(params=["nftables", "iptables"])
def firewall(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the ways in which rules get into the kernel, in turn."""
    if request.param == "iptables":
        if not shutil.which("iptables-legacy-restore"):
            pytest.skip("iptables-legacy (package iptables) is not installed")
        monkeypatch.setattr(Netfilter, "usable", lambda _self: False)
    return str(request.param)
