"""Tables, transactions and what the kernel says of them, in a namespace of the test's own."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest

from gasang.core.errors import PermissionDeniedError
from gasang.host import netns
from gasang.host import nftables as nft
from gasang.host.netlink import NetlinkError


@pytest.fixture
def netfilter() -> Iterator[nft.Netfilter]:
    try:
        namespace = netns.create()
    except PermissionDeniedError:
        pytest.skip("network namespaces need root")
    with netns.entered(namespace), nft.Netfilter() as made:
        if not made.usable():
            pytest.skip("this kernel has no nftables")
        yield made
    os.close(namespace)


def test_a_transaction_is_all_or_nothing(netfilter: nft.Netfilter) -> None:
    with pytest.raises(NetlinkError, match="a rule of chain missing") as caught:
        netfilter.commit([nft.add_table(nft.INET, "one"), nft.add_rule(nft.INET, "one", "missing", nft.verdict(nft.DROP))])
    assert caught.value.number == errno.ENOENT
    assert netfilter.tables() == []
    netfilter.commit(
        [
            nft.add_table(nft.INET, "one"),
            nft.add_chain(nft.INET, "one", "there"),
            nft.add_rule(nft.INET, "one", "there", nft.verdict(nft.DROP)),
        ]
    )
    assert netfilter.tables() == [(nft.INET, "one")]
    assert (netfilter.counted("chains"), netfilter.counted("rules")) == (1, 1)


def test_a_table_is_installed_in_place_of_the_one_there(netfilter: nft.Netfilter) -> None:
    rule = nft.add_rule(nft.INET, "one", "chain", nft.verdict(nft.ACCEPT))
    for count in (1, 3, 2):
        netfilter.install(nft.INET, "one", [nft.add_chain(nft.INET, "one", "chain"), *([rule] * count)])
        assert netfilter.counted("rules") == count


def test_elements_come_and_go(netfilter: nft.Netfilter) -> None:
    element = (b"\x0a\0\0\1", b"\x0a\0\0\2")
    netfilter.commit([nft.add_table(nft.INET, "one"), nft.add_map(nft.INET, "one", "map", [nft.TYPE_IPV4], 4, [nft.TYPE_IPV4], 4, 1)])
    netfilter.commit([nft.add_elements(nft.INET, "one", "map", [element])])
    netfilter.commit([nft.delete_elements(nft.INET, "one", "map", [element])])
    with pytest.raises(NetlinkError) as caught:
        netfilter.commit([nft.delete_elements(nft.INET, "one", "map", [element])])
    assert caught.value.number == errno.ENOENT


def test_forwarders_that_drop_are_found(netfilter: nft.Netfilter) -> None:
    for table, policy in (("open", nft.ACCEPT), ("shut", nft.DROP)):
        chain = nft.add_base_chain(nft.INET, table, "forward", "filter", nft.FORWARD, 0, policy=policy)
        netfilter.install(nft.INET, table, [chain])
    assert netfilter.dropping_forwarders() == ["shut"]


def test_forgetting_connections_there_are_not_is_no_failure(netfilter: nft.Netfilter) -> None:
    netfilter.forget_connections([b"\x0a\0\0\1", bytes(15) + b"\1"])
