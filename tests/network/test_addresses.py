"""Pools of addresses."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import GasangError, OutOfSpaceError, StateError, UsageError
from gasang.network.addresses import Pool
from gasang.network.spec import SubnetSpec


def test_the_lowest_free_one_is_given() -> None:
    pool = Pool(SubnetSpec("10.0.0.0/29"))
    assert str(pool.gateway) == "10.0.0.1"
    assert [pool.take() for _ in range(5)] == [f"10.0.0.{number}/29" for number in range(2, 7)]
    with pytest.raises(OutOfSpaceError, match="all its addresses are taken"):
        pool.take()
    pool.give("10.0.0.4/29")
    assert pool.take() == "10.0.0.4/29"


def test_gateway_range_and_reserved_are_heeded() -> None:
    pool = Pool(SubnetSpec("10.0.0.0/24", "10.0.0.9", "10.0.0.8/30", {"router": "10.0.0.10"}))
    assert [pool.take(), pool.take()] == ["10.0.0.8/24", "10.0.0.11/24"]
    with pytest.raises(OutOfSpaceError):
        pool.take()
    # What is asked for may lie outside the range.
    assert pool.take("10.0.0.200") == "10.0.0.200/24"
    for taken in ("10.0.0.9", "10.0.0.10", "10.0.0.200"):
        with pytest.raises(StateError, match="in use"):
            pool.take(taken)


def test_ipv6_has_no_broadcast() -> None:
    pool = Pool(SubnetSpec("fd00::/126"))
    assert [pool.take(), pool.take()] == ["fd00::2/126", "fd00::3/126"]


@pytest.mark.parametrize(
    "text", ["10.0.0.0", "10.0.0.0/31", "fd00::/127", "x", "", "10.0.0.0/33", "224.0.0.0/24", "127.0.0.0/8", "ff00::/64", "10.0.0.0/24/24"]
)
def test_subnets_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="subnet"):
        Pool(SubnetSpec(text))


@pytest.mark.parametrize(
    "spec",
    [
        SubnetSpec("10.0.0.0/24", "10.0.1.1"),
        SubnetSpec("10.0.0.0/24", "x"),
        SubnetSpec("10.0.0.0/24", "", "10.0.1.0/25"),
        SubnetSpec("10.0.0.0/24", "", "fd00::/64"),
        SubnetSpec("10.0.0.0/24", "", "", {"a": "10.1.0.1"}),
    ],
)
def test_parts_that_are_not_in_the_subnet(spec: SubnetSpec) -> None:
    with pytest.raises(UsageError):
        Pool(spec)


@pytest.mark.parametrize("address", ["10.0.0.0", "10.0.0.255"])
def test_the_networks_own_addresses_are_nobodys(address: str) -> None:
    with pytest.raises(UsageError, match="the network"):
        Pool(SubnetSpec("10.0.0.0/24")).take(address)


@given(st.lists(st.one_of(st.none(), st.integers(0, 31), st.integers(32, 63)), max_size=60))
def test_no_address_is_given_twice(steps: list[int | None]) -> None:
    pool = Pool(SubnetSpec("10.0.0.0/27"))
    held: list[str] = []
    for step in steps:
        if step is not None and step >= 32 and held:
            pool.give(held.pop(step % len(held)))
            continue
        try:
            got = pool.take("" if step is None else f"10.0.0.{step % 32}")
        except GasangError:
            continue
        assert got not in held
        assert ip_address(got.partition("/")[0]) in ip_network("10.0.0.0/27")
        held.append(got)
    free = 29 - len(held)
    assert [pool.take() for _ in range(free)] == sorted(
        {f"10.0.0.{n}/27" for n in range(2, 31)} - set(held), key=lambda text: ip_address(text[:-3])
    )
