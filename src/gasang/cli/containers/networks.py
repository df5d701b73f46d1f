"""The commands of ``gasang network``."""

from __future__ import annotations

import sys
from typing import Any, Final

from gasang.api.client import Client, path_of
from gasang.cli.containers import values as convert
from gasang.cli.containers.captures import CAPTURE
from gasang.cli.containers.documents import show
from gasang.cli.containers.each import MACHINE, for_each
from gasang.cli.containers.family import Command, Commands
from gasang.cli.containers.filters import FILTER, query_of
from gasang.cli.containers.pruning import command
from gasang.cli.containers.shown import listed, short_id
from gasang.cli.containers.switches import SWITCH
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, switch, value, values
from gasang.cli.output import Column, Row, printable, render
from gasang.cli.standard import FORMAT
from gasang.core.errors import UsageError

NETWORKS: Final = Argument("NETWORK", "by name or id", repeated=True, completes="networks")
NETWORK: Final = Argument("NETWORK", "by name or id", completes="networks")
SUBNETS = values("subnet", "CIDR", "its addresses, such as 10.5.0.0/24 (default: some that are free); one of IPv6 as well", plain_text)
RANGES = values("ip-range", "CIDR", "the part of the subnet that machines get addresses from", plain_text)
GATEWAYS = values("gateway", "IP", "the host's address in the subnet", plain_text)
DRIVER = value("driver", "DRIVER", "bridge of the kernel (default), or switch, in user space", plain_text, short="d")
VXLAN = value("vxlan", "NUMBER", "one network with other hosts, by VXLAN of that number; on a switch", plain_text)
PEERS = values("peer", "ADDRESS[:PORT]", "another host of it", plain_text)
VXLAN_PORT = value("vxlan-port", "PORT", "where hosts hear each other, of UDP (default: 4789)", plain_text)
IPV6 = switch("ipv6", "with IPv6 addresses as well")
DRIVER_OPTIONS = values("opt", "NAME=VALUE", "of the driver", convert.pair, short="o")
INTERNAL = switch("internal", "without a way out")
BANDWIDTH = value("bandwidth", "RATE", "bits a second of each machine in it, each way, such as 100M", plain_text)
LATENCY = value("latency", "TIME", "how long a frame is on its way to a machine, such as 20ms", plain_text)
LOSS = value("loss", "SHARE", "how many of the frames that a machine sends are lost, such as 0.5%", plain_text)
VLAN = value("vlan", "NUMBER", "the only VLAN whose tag machines may use", plain_text)
GUARD = switch("guard", "machines send with their own addresses alone, and are no routers and DHCP servers")
ISOLATED = switch("isolated", "machines do not reach each other, only the way out")
LABELS = values("label", "NAME=VALUE", "a note on it", convert.pair)
ALIASES = values("alias", "NAME", "another name of the machine in it", plain_text)
ADDRESS = value("ip", "IP", "the machine's address in it", plain_text)
FORCE = switch("force", "also a machine that is not there any more", short="f")
COLUMNS: Final = (
    Column("name", "NAME"), Column("id", "ID", short_id), Column("driver", "DRIVER"), Column("subnets", "SUBNETS", listed),
    Column("internal", "INTERNAL", lambda found: "yes" if found else ""), Column("labels", ""),
)  # fmt: skip


def row(found: dict[str, Any]) -> Row:
    """A network of the API as a row."""
    pools = (found.get("IPAM") or {}).get("Config") or ()
    return {
        "name": found["Name"],
        "id": found["Id"],
        "driver": found["Driver"],
        "subnets": [pool["Subnet"] for pool in pools if pool.get("Subnet")],
        "internal": found["Internal"],
        "labels": found["Labels"] or {},
    }


def _list(parsed: Parsed, client: Client) -> int:
    rows = [row(found) for found in client.call("GET", "/networks", {"filters": query_of(parsed.get(FILTER))})]
    print(render(parsed.get(FORMAT), COLUMNS, rows), end="")
    return 0


def _pools(parsed: Parsed) -> list[dict[str, str]]:
    """IPAM.Config: a pool for each subnet, or one for what is said of a subnet that the daemon chooses. Raises UsageError."""
    subnets, ranges, gateways = parsed.get(SUBNETS), parsed.get(RANGES), parsed.get(GATEWAYS)
    count = max(len(subnets), 1)
    for option, found in ((RANGES, ranges), (GATEWAYS, gateways)):
        if len(found) > count:
            raise UsageError(f"option {option.flag}", "there are more of them than subnets", "give one a --subnet, in the same order")
    columns = {"Subnet": subnets, "IPRange": ranges, "Gateway": gateways}
    pools = [{name: found[index] for name, found in columns.items() if index < len(found)} for index in range(count)]
    return [pool for pool in pools if pool]


def _limits(parsed: Parsed) -> dict[str, str]:
    """The options of the network that those of the command line are."""
    said = {"bandwidth": BANDWIDTH, "latency": LATENCY, "loss": LOSS, "vlan": VLAN}
    limits = {f"gasang.{name}": str(parsed.get(option)) for name, option in said.items() if parsed.get(option)}
    if parsed.get(GUARD):
        limits["gasang.guard"] = "true"
    limits |= {
        f"gasang.{name}": str(parsed.get(option)) for name, option in (("vxlan", VXLAN), ("vxlan-port", VXLAN_PORT)) if parsed.get(option)
    }
    if parsed.get(PEERS):
        limits["gasang.peers"] = ",".join(parsed.get(PEERS))
    return limits | ({"com.docker.network.bridge.enable_icc": "false"} if parsed.get(ISOLATED) else {})


def _create(parsed: Parsed, client: Client) -> int:
    pools = _pools(parsed)
    body = {
        "Name": parsed.arguments[0],
        "Driver": parsed.get(DRIVER) or ("switch" if parsed.get(VXLAN) else ""),
        "EnableIPv6": parsed.get(IPV6),
        "Options": dict(parsed.get(DRIVER_OPTIONS)) | _limits(parsed),
        "Internal": parsed.get(INTERNAL),
        "Labels": dict(parsed.get(LABELS)),
        **({"IPAM": {"Config": pools}} if pools else {}),
    }
    made = client.call("POST", "/networks/create", body=body)
    if made.get("Warning"):
        print(f"gasang: {printable(made['Warning'])}", file=sys.stderr)
    print(made["Id"])
    return 0


def _remove(parsed: Parsed, client: Client) -> int:
    return for_each(parsed.arguments, lambda name: client.call("DELETE", path_of("networks", name)))


def _inspect(parsed: Parsed, client: Client) -> int:
    print(show(parsed.get(FORMAT), [client.call("GET", path_of("networks", name)) for name in parsed.arguments]), end="")
    return 0


def _connect(parsed: Parsed, client: Client) -> int:
    network, machine = parsed.arguments
    address = parsed.get(ADDRESS)
    endpoint: dict[str, Any] = {"Aliases": list(parsed.get(ALIASES)), **({"IPAMConfig": {"IPv4Address": address}} if address else {})}
    client.call("POST", path_of("networks", network, "connect"), body={"Container": machine, "EndpointConfig": endpoint})
    return 0


def _disconnect(parsed: Parsed, client: Client) -> int:
    network, machine = parsed.arguments
    client.call("POST", path_of("networks", network, "disconnect"), body={"Container": machine, "Force": parsed.get(FORCE)})
    return 0


COMMANDS: Final[Commands] = {
    "ls": Command(Syntax("List networks.", options=(FILTER, FORMAT), examples=(Example("gasang network ls", "all of them"),)), _list),
    "create": Command(
        Syntax(
            "Make a network, in which machines find each other by name.",
            options=(
                SUBNETS,
                RANGES,
                GATEWAYS,
                INTERNAL,
                IPV6,
                ISOLATED,
                GUARD,
                VLAN,
                BANDWIDTH,
                LATENCY,
                LOSS,
                VXLAN,
                PEERS,
                VXLAN_PORT,
                DRIVER,
                DRIVER_OPTIONS,
                LABELS,
            ),
            arguments=(Argument("NAME", "what to call it"),),
            examples=(
                Example("gasang network create app", "then: gasang run --network app …"),
                Example("gasang network create --internal --subnet 10.5.0.0/24 inner", "with these addresses, and no way out"),
                Example("gasang network create --guard --bandwidth 100M lab", "nobody speaks in another's name, nor all the time"),
                Example("gasang network create --driver switch --latency 20ms far", "on a switch in user space"),
                Example(
                    "gasang network create --vxlan 42 --peer 192.0.2.7 --subnet 10.7.0.0/24 --ip-range 10.7.0.0/25 wide",
                    "one network with another host, which says the same of us, with the range 10.7.0.128/25",
                ),
            ),
        ),
        _create,
    ),
    "rm": Command(
        Syntax("Remove networks nobody is in.", arguments=(NETWORKS,), examples=(Example("gasang network rm app", "remove it"),)), _remove
    ),
    "prune": command("network", Example("gasang network prune -f", "without asking")),
    "inspect": Command(
        Syntax(
            "Show all that is known of networks.",
            options=(FORMAT,),
            arguments=(NETWORKS,),
            examples=(Example("gasang network inspect app", "as JSON"),),
        ),
        _inspect,
    ),
    "connect": Command(
        Syntax(
            "Put a machine into one more network.",
            options=(ALIASES, ADDRESS),
            arguments=(NETWORK, MACHINE),
            examples=(Example("gasang network connect app web", "also while it runs"),),
        ),
        _connect,
    ),
    "disconnect": Command(
        Syntax(
            "Take a machine out of a network.",
            options=(FORCE,),
            arguments=(NETWORK, MACHINE),
            examples=(Example("gasang network disconnect app web", "also while it runs"),),
        ),
        _disconnect,
    ),
    "capture": CAPTURE,
    "switch": SWITCH,
}
