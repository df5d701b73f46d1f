"""The host's side of networks: bridges, the table of rules, forwarding. Made when the first machine comes, gone when nobody needs it.

`Bridges` holds what is on the host now; what ought to be is told to it. A network without machines has nothing on the host.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Final

from gasang.core.errors import GasangError
from gasang.host import rtnetlink, sysctls
from gasang.host.netlink import ROUTE, NetlinkError, Socket
from gasang.network import cables, forwarding, names, rules
from gasang.network.docker_user import DockerUser
from gasang.network.firewall import choose
from gasang.network.forwarding import Before
from gasang.network.guarding import Guards
from gasang.network.spec import Network, Published

_log = logging.getLogger(__name__)
_MISSING: Final = frozenset({errno.ENODEV})


class Bridges:
    """What of us is on the host, in the network namespace of the thread that makes this."""

    def __init__(self, tag: str, before: Before, store: Callable[[Before], None]) -> None:
        self.route = Socket(ROUTE)
        self._firewall = choose(tag)
        self.guards = Guards(tag)
        self._docker = DockerUser(tag)
        self._tag = tag
        self._before = before
        self._store = store
        # Deleting makes the kernel wait; those who connect meanwhile have a socket of their own.
        self._slow = Socket(ROUTE)
        self._slow_lock = threading.Lock()
        self._told: set[str] = set()
        self._present: dict[str, tuple[Network, int]] = {}

    def close(self) -> None:
        """Close the sockets; everything on the host stays."""
        self.route.close()
        self._slow.close()
        self.guards.close()
        self._docker.close()
        self._firewall.close()

    def links(self) -> list[rtnetlink.Link]:
        """All interfaces of the host."""
        return [rtnetlink.link_of(answer) for answer in self.route.dump(rtnetlink.all_links())]

    def number(self, network: str) -> int | None:
        """The interface number of a network's bridge; None if it has none now."""
        present = self._present.get(network)
        return present[1] if present else None

    def raise_up(self, network: Network, published: Sequence[Published], make: Callable[[Network, bytes], None]) -> None:
        """Have the host's interface in a network made (as `Driver.make`), and let the network's rules hold.

        Raises StateError where the host has an interface of its name, NetlinkError, PermissionDeniedError; then nothing of it is left.
        """
        ipv6 = any(":" in subnet.subnet for subnet in network.subnets)
        outside = self._before.outside
        if not network.spec.internal:
            self._before = forwarding.turn_on(self._before, self.links(), ipv6=ipv6, store=self._store)
        make(network, names.bridge_address(self._tag, network.id))
        try:
            self._parameters(network)
            number = self._address(network)
            self._present[network.id] = network, number
            self._join_rules(network, outside, published)
            self._tell_obstacles()
        except GasangError:
            self._present.pop(network.id, None)
            self._delete([network.bridge])
            raise

    def adopt(self, network: Network) -> bool:
        """Take over the network's bridge as it stands; False if it is not there."""
        try:
            answers = self.route.send([rtnetlink.get_link(network.bridge)])
        except NetlinkError:
            return False
        link = rtnetlink.link_of(answers[0])
        if not names.is_our_bridge(self._tag, link.kind, link.hardware_address):
            return False
        self._present[network.id] = network, link.index
        return True

    def take_down(self, networks: Sequence[Network], published: Sequence[Published]) -> None:
        """Remove the bridges of networks that have no machines, their rules, and with the last of all also the table and forwarding."""
        gone = [network for network in networks if self._present.pop(network.id, None)]
        self._delete([network.bridge for network in gone])
        if self._present:
            self.write_rules(published)
        else:
            self.clear()

    def clear(self) -> None:
        """No rules, and the host's parameters as they were before us."""
        self._firewall.clear()
        self._docker.clear()
        self.guards.clear()
        if self._before.parameters:
            self._before = forwarding.put_back(self._before, self.links())
            self._store(self._before)

    def sweep(self, cables: Iterable[str], bridges: Iterable[str]) -> list[str]:
        """Delete our interfaces that are none of these; their names."""
        kept = {*cables, *bridges}
        ours = [link for link in self.links() if link.name not in kept]
        lost = [link.name for link in ours if names.is_our_cable(self._tag, link.kind, link.name)]
        lost += [link.name for link in ours if names.is_our_bridge(self._tag, link.kind, link.hardware_address)]
        self._delete(lost)
        return lost

    def write_rules(self, published: Sequence[Published]) -> None:
        """Make the rules anew, for the networks that are on the host."""
        self._firewall.write([_ruled(network) for network, _number in self._present.values()], published, self._before.outside)
        self.let_pass()

    def let_pass(self) -> None:
        """What passes our bridges passes dockerd's rules, if there are any now."""
        if not self._present:
            return
        self._docker.accept([network.bridge for network, _number in self._present.values()])

    def _tell_obstacles(self) -> None:
        """In the log, each once; looked for with the first network."""
        if len(self._present) != 1:
            return
        with contextlib.suppress(GasangError):
            for sentence in set(self.obstacles()) - self._told:
                self._told.add(sentence)
                _log.warning("networks: %s", sentence)

    def _join_rules(self, network: Network, outside: Sequence[str], published: Sequence[Published]) -> None:
        """Rules for one more network; where there are none yet, or what is outside has become known, all of them."""
        if len(self._present) == 1 or outside != self._before.outside:
            self.write_rules(published)
        else:
            self._firewall.join(_ruled(network))
            self.let_pass()

    def publish(self, published: Sequence[Published], host_interface: str) -> None:
        """Let rules send these ports to the machine at that cable.

        A machine may call its own published port. Where bridges filter, that packet never leaves its bridge, which must send it back
        where it came from; "": there is none.
        """
        if host_interface and self._firewall.translates and not all(ip_address(port.host_address).is_loopback for port in published):
            self.route.send([rtnetlink.hairpin_port(host_interface)])
        self._firewall.publish(published)

    def mend(self, published: Sequence[Published]) -> None:
        """Make the rules anew if somebody has flushed them together with his own."""
        if self._present and self._firewall.lost():
            self.write_rules(published)
        else:
            self.let_pass()

    def withdraw(self, published: Sequence[Published]) -> None:
        """Undo `publish`."""
        self._firewall.withdraw(published)

    def obstacles(self) -> list[str]:
        """Sentences about what on this host keeps networks from working as they should."""
        return self._firewall.obstacles(beside_docker=self._docker.is_accepting())

    def forget_connections(self, addresses: Iterable[str]) -> None:
        """Let the kernel forget translated connections to these addresses, which other machines will have."""
        self._firewall.forget_connections(addresses)

    def unplug(self, host_interfaces: Sequence[str]) -> None:
        """Delete cables; those already gone are no failure.

        Raises NetlinkError, PermissionDeniedError.
        """
        with self._slow_lock:
            cables.unplug(self._slow, host_interfaces)

    def _delete(self, bridges: Sequence[str]) -> None:
        if bridges:
            self.route.send([rtnetlink.delete_link(name) for name in bridges], forgiven=_MISSING)

    def _parameters(self, network: Network) -> None:
        """Packets from the host's own 127.0.0.1 may leave by the bridge (our rules stop those that come in); no router is heeded."""
        for name, value in ((f"net/ipv4/conf/{network.bridge}/route_localnet", "1"), (f"net/ipv6/conf/{network.bridge}/accept_ra", "0")):
            with contextlib.suppress(GasangError):
                sysctls.write(name, value)

    def _address(self, network: Network) -> int:
        number = rtnetlink.link_of(self.route.send([rtnetlink.get_link(network.bridge)])[0]).index
        quiet = not any(":" in subnet.subnet for subnet in network.subnets)
        messages = [*([rtnetlink.without_link_local(number)] if quiet else []), rtnetlink.set_up(number)]
        for subnet in network.subnets:
            prefix = int(subnet.subnet.partition("/")[2])
            messages.append(rtnetlink.new_address(number, ip_address(subnet.gateway).packed, prefix))
        self.route.send(messages)
        return number


def _ruled(network: Network) -> rules.Ruled:
    subnets = tuple(subnet.subnet for subnet in network.subnets)
    return rules.Ruled(network.bridge, subnets, network.spec.internal, network.spec.icc, network.spec.masquerade)
