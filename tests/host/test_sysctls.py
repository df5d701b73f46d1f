"""Kernel parameters, of the calling thread's network namespace."""

from __future__ import annotations

import os

import pytest

from gasang.core.errors import GasangError, PermissionDeniedError
from gasang.host import netns, sysctls


def test_they_are_those_of_the_namespace() -> None:
    try:
        namespace = netns.create()
    except PermissionDeniedError:
        pytest.skip("network namespaces need root")
    before = sysctls.read("net/ipv4/ip_default_ttl")
    with netns.entered(namespace):
        assert sysctls.write("net/ipv4/ip_default_ttl", "33")
        assert sysctls.read("net/ipv4/ip_default_ttl") == "33"
        with pytest.raises(GasangError, match="the kernel refuses 'x'"):
            sysctls.write("net/ipv4/ip_default_ttl", "x")
    assert sysctls.read("net/ipv4/ip_default_ttl") == before
    os.close(namespace)


def test_one_there_is_not() -> None:
    assert sysctls.read("net/no/such") is None
    assert sysctls.write("net/no/such", "1") is False
