"""Links of the default bridge, as there were before networks had names: lines in /etc/hosts and variables that tell of the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gasang.core.errors import NotFoundError, StateError, UsageError
from gasang.daemon.containers.record import Container
from gasang.network.spec import BRIDGE

Find = Callable[[str], Container]


def settle(container: Container) -> None:
    """Write links as Docker shows them; those of networks with names are kept by the endpoints."""
    whole = [f"/{name}:/{container.name}/{alias}" for name, alias in _links(container)]
    container.host["Links"] = whole or None


def check(container: Container, find: Find) -> None:
    """Raise UsageError where a link names a container that is not there, in Docker's words."""
    for name, _alias in _links(container):
        try:
            find(name)
        except NotFoundError as error:
            # Not as NotFoundError: that would make the client pull the image.
            raise UsageError(f"could not get container for {name[:80]}", str(error)) from error


def hosts(container: Container, find: Find) -> list[str]:
    """The lines of /etc/hosts. Raises NotFoundError, StateError where the other does not run or is not on the default bridge."""
    lines = []
    for other, alias in _linked(container, find):
        names = dict.fromkeys([alias, other.config["Hostname"], other.name])
        lines.append(f"{other.endpoints[BRIDGE]['IPAddress']}\t{' '.join(names)}")
    return lines


def environment(container: Container, find: Find) -> list[str]:
    """The variables ALIAS_NAME, ALIAS_PORT…, ALIAS_ENV_… of each link. Raises as `hosts` does."""
    return [variable for other, alias in _linked(container, find) for variable in _variables(container, other, alias)]


def _variables(container: Container, other: Container, alias: str) -> Iterator[str]:
    prefix = alias.upper().replace("-", "_")
    address = other.endpoints[BRIDGE]["IPAddress"]
    yield f"{prefix}_NAME=/{container.name}/{alias}"
    ports = sorted((int(number), protocol) for number, _, protocol in (name.partition("/") for name in other.config["ExposedPorts"] or ()))
    if ports:
        yield f"{prefix}_PORT={ports[0][1]}://{address}:{ports[0][0]}"
    for number, protocol in ports:
        port = f"{prefix}_PORT_{number}_{protocol.upper()}"
        yield f"{port}={protocol}://{address}:{number}"
        yield from (f"{port}_ADDR={address}", f"{port}_PORT={number}", f"{port}_PROTO={protocol}")
    for variable in other.config["Env"] or ():
        if not variable.startswith(("PATH=", "HOME=", "HOSTNAME=")):
            yield f"{prefix}_ENV_{variable}"


def _linked(container: Container, find: Find) -> Iterator[tuple[Container, str]]:
    for name, alias in _links(container):
        other = find(name)
        if BRIDGE not in other.endpoints:
            raise StateError(f"Cannot link to /{other.name}, as it does not belong to the default network", "join both to a network")
        if not other.status.alive or not other.endpoints.get(BRIDGE, {}).get("IPAddress"):
            raise StateError(f"Cannot link to a non running container: /{other.name} AS /{container.name}/{alias}", "start it first")
        yield other, alias


def _links(container: Container) -> Iterator[tuple[str, str]]:
    """(other, alias) of each. In networks with names links are aliases there, and endpoints' business."""
    for link in container.host["Links"] or () if BRIDGE in container.endpoints else ():
        name, _, alias = link.partition(":")
        bare = name.removeprefix("/")
        yield bare, alias.rpartition("/")[2] or bare
