"""The table of rules: accepted by the kernel whatever the networks are, and what goes into its maps."""

from __future__ import annotations

import pytest

from gasang.host import nftables as nft
from gasang.network import rules
from gasang.network.rules import Ruled
from gasang.network.spec import Published
from support.network_host import Host

NETWORKS = [
    Ruled("gs0", ("10.0.0.0/24", "fd00::/64"), internal=False, icc=True, masquerade=True),
    Ruled("gs1", ("10.1.0.0/24",), internal=True, icc=True, masquerade=True),
    Ruled("gs2", ("10.2.0.0/24",), internal=False, icc=False, masquerade=False),
]
PORTS = [
    Published("tcp", "127.0.0.1", 80, "10.0.0.2", 80),
    Published("udp", "0.0.0.0", 53, "10.0.0.2", 53),
    Published("tcp", "::", 80, "fd00::2", 80),
    Published("tcp", "2001:db8::1", 81, "fd00::2", 80),
    Published("tcp", "::1", 80, "fd00::2", 80),
    Published("tcp", "::", 82, "10.0.0.2", 80),
]


@pytest.mark.parametrize("count", range(4))
@pytest.mark.parametrize("outside", [(), ("eth0", "lo0")])
def test_the_kernel_takes_it(host: Host, count: int, outside: tuple[str, ...]) -> None:
    with nft.Netfilter() as netfilter:
        netfilter.install(nft.INET, "t", rules.contents("t", NETWORKS[:count], PORTS, outside))
        rest = [message for network in NETWORKS[count:] for message in rules.joined("t", network)]
        if rest:
            netfilter.commit(rest)
        grown = netfilter.counted("rules")
        netfilter.install(nft.INET, "t", rules.contents("t", NETWORKS, PORTS, outside))
        assert netfilter.counted("rules") == grown
        netfilter.commit(rules.withdraw("t", PORTS))
        netfilter.commit(rules.publish("t", PORTS))
        netfilter.commit(rules.removal("t"))
        assert netfilter.tables() == []
        netfilter.commit(rules.removal("t"))


def test_what_rules_cannot_do_is_left_to_the_proxy() -> None:
    assert [rules.translatable(port) for port in PORTS] == [True, True, True, True, False, False]
    assert len(rules.publish("t", PORTS)) == 4
