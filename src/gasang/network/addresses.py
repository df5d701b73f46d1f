"""Which addresses of a subnet are taken: a pool gives the lowest free one, or the one that is asked for.

The pool holds no state of its own that would have to be stored: it is made again from the endpoints that are.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from gasang.core.errors import OutOfSpaceError, StateError, UsageError
from gasang.network.spec import SubnetSpec

Address = IPv4Address | IPv6Address
AnyNetwork = IPv4Network | IPv6Network

_SMALLEST: Final = {4: 30, 6: 126}


class Pool:
    """The addresses of one subnet. Network address and broadcast address are never given; neither are gateway and reserved ones."""

    def __init__(self, spec: SubnetSpec) -> None:
        self.subnet = subnet_of(spec.subnet)
        self.family = self.subnet.version
        first, last = _bounds(self.subnet)
        self.gateway = _inside(spec.gateway, self.subnet, "gateway") if spec.gateway else self.subnet[1]
        self._first, self._last = first, last
        if spec.range:
            part = subnet_of(spec.range, smallest=False)
            if part.version != self.family or not part.subnet_of(self.subnet):  # type: ignore[arg-type]
                raise UsageError(f"address range {spec.range}", f"it is no part of {self.subnet}", "name a range within the subnet")
            self._first, self._last = max(first, int(part[0])), min(last, int(part[-1]))
        self._outer = first, last
        self._fixed = {int(self.gateway)} | {int(_inside(text, self.subnet, f"address of {name}")) for name, text in spec.reserved.items()}
        self._taken: set[int] = set()
        self._from = self._first
        self.spec = replace(spec, subnet=str(self.subnet), gateway=str(self.gateway))

    def take(self, wanted: str = "") -> str:
        """An address with its prefix: the lowest free one, or `wanted`.

        Raises StateError if `wanted` is taken, UsageError if it is none of this subnet's, OutOfSpaceError if none is free.
        """
        number = self._wanted(wanted) if wanted else self._lowest()
        self._taken.add(number)
        return f"{type(self.gateway)(number)}/{self.subnet.prefixlen}"

    def give(self, address: str) -> None:
        """It is free again. `address` may carry its prefix."""
        number = int(ip_address(address.partition("/")[0]))
        self._taken.discard(number)
        if self._first <= number < self._from:
            self._from = number

    def _wanted(self, wanted: str) -> int:
        number = int(_inside(wanted, self.subnet, "address"))
        if not self._outer[0] <= number <= self._outer[1]:
            raise UsageError(f"address {wanted}", f"it means the network {self.subnet} itself", "choose another")
        if number in self._taken or number in self._fixed:
            raise StateError(f"address {wanted}", "it is in use", "choose another, or disconnect the machine that has it")
        return number

    def _lowest(self) -> int:
        taken, fixed = self._taken, self._fixed
        number = self._from
        while number <= self._last:
            if number not in taken and number not in fixed:
                self._from = number + 1
                return number
            number += 1
        raise OutOfSpaceError(
            f"network {self.subnet}", "all its addresses are taken", "remove machines, or make a network with a larger subnet"
        )


def subnet_of(text: str, *, smallest: bool = True) -> AnyNetwork:
    """A subnet from text.

    Raises UsageError when it is none, has host bits, or (`smallest`) no room for a gateway and a machine.
    """
    try:
        subnet = ip_network(text, strict=False)
    except ValueError as error:
        raise UsageError(f"subnet {text!r}", "it is not written as ADDRESS/PREFIX", "write it like 10.7.0.0/24") from error
    if smallest and subnet.prefixlen > _SMALLEST[subnet.version]:
        raise UsageError(f"subnet {text}", "it has no room for a gateway and a machine", f"use /{_SMALLEST[subnet.version]} or wider")
    if subnet.is_multicast or (subnet.is_loopback and subnet.version == 4):
        raise UsageError(f"subnet {text}", "such addresses do not name machines", "use a private subnet like 10.7.0.0/24")
    return subnet


def _bounds(subnet: AnyNetwork) -> tuple[int, int]:
    first, last = int(subnet[0]), int(subnet[-1])
    return first + 1, last - 1 if subnet.version == 4 else last


def _inside(text: str, subnet: AnyNetwork, what: str) -> Address:
    try:
        address = ip_address(text)
    except ValueError as error:
        raise UsageError(f"{what} {text!r}", "it is no IP address", f"use one of {subnet}") from error
    if address not in subnet:
        raise UsageError(f"{what} {text}", f"it is not in {subnet}", "choose one that is")
    return address
