"""The commands of ``gasang network``."""

from __future__ import annotations

from typing import Any, Final

from gasang.api.client import Client, path_of
from gasang.cli.containers import values as convert
from gasang.cli.containers.documents import show
from gasang.cli.containers.each import MACHINE, for_each
from gasang.cli.containers.family import Command
from gasang.cli.containers.filters import FILTER, query_of
from gasang.cli.containers.shown import listed, short_id
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, switch, value, values
from gasang.cli.output import Column, Row, render
from gasang.cli.standard import FORMAT

NETWORKS: Final = Argument("NETWORK", "by name or id", repeated=True)
NETWORK: Final = Argument("NETWORK", "by name or id")
SUBNET = value("subnet", "CIDR", "its addresses, such as 10.5.0.0/24 (default: some that are free)", plain_text)
GATEWAY = value("gateway", "IP", "the host's address in it", plain_text)
INTERNAL = switch("internal", "without a way out")
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


def _create(parsed: Parsed, client: Client) -> int:
    subnet, gateway = parsed.get(SUBNET), parsed.get(GATEWAY)
    pool = {name: text for name, text in (("Subnet", subnet), ("Gateway", gateway)) if text}
    body = {
        "Name": parsed.arguments[0],
        "Driver": "bridge",
        "Internal": parsed.get(INTERNAL),
        "Labels": dict(parsed.get(LABELS)),
        **({"IPAM": {"Config": [pool]}} if pool else {}),
    }
    print(client.call("POST", "/networks/create", body=body)["Id"])
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


COMMANDS: Final = {
    "ls": Command(Syntax("List networks.", options=(FILTER, FORMAT), examples=(Example("gasang network ls", "all of them"),)), _list),
    "create": Command(
        Syntax(
            "Make a network, in which machines find each other by name.",
            options=(SUBNET, GATEWAY, INTERNAL, LABELS),
            arguments=(Argument("NAME", "what to call it"),),
            examples=(Example("gasang network create app", "then: gasang run --network app …"),),
        ),
        _create,
    ),
    "rm": Command(
        Syntax("Remove networks nobody is in.", arguments=(NETWORKS,), examples=(Example("gasang network rm app", "remove it"),)), _remove
    ),
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
}
