"""Subnets found by ourselves."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import OutOfSpaceError
from gasang.network import subnets


@given(st.lists(st.tuples(st.integers(16, 31), st.integers(0, 255), st.integers(12, 28)), max_size=12))
def test_what_is_found_meets_nothing(parts: list[tuple[int, int, int]]) -> None:
    used = [ip_network(f"172.{second}.{third}.0/{prefix}", strict=False) for second, third, prefix in parts]
    found = subnets.free_ipv4(used)
    assert found.is_private
    assert not any(found.overlaps(network) for network in used)


def test_networks_of_the_other_family_do_not_matter() -> None:
    assert str(subnets.free_ipv4([ip_network("::/0")])) == "172.17.0.0/16"


def test_all_the_same_when_there_is_no_more() -> None:
    with pytest.raises(OutOfSpaceError, match="every private one is in use"):
        subnets.free_ipv4([ip_network("172.16.0.0/12"), ip_network("192.168.0.0/16")])


def test_unique_local_subnets_are_the_networks_own() -> None:
    one, two = (subnets.unique_local(text) for text in ("one", "two"))
    assert one == subnets.unique_local("one") != two
    assert one.subnet_of(ip_network("fd00::/8"))
    assert one.prefixlen == 64
