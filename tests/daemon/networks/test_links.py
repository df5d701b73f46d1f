"""Links of the default bridge."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gasang.core.errors import NotFoundError, StateError, UsageError
from gasang.daemon.containers.record import Container, Status
from gasang.daemon.networks import links


def container(name: str, *wanted: str, place: str = "bridge", address: str = "172.17.0.2", status: str = "running") -> Container:
    config = {"Hostname": f"{name}-host", "Env": ["PATH=/x", "COLOUR=red"], "ExposedPorts": {"443/tcp": {}, "80/tcp": {}, "53/udp": {}}}
    places = {place: {"IPAddress": address}}
    return Container(name * 16, name, "", "", "", config, {"Links": list(wanted) or None}, places, status=Status(status=status))


def known(*containers: Container) -> Callable[[str], Container]:
    by_name = {each.name: each for each in containers}

    def find(name: str) -> Container:
        if name not in by_name:
            raise NotFoundError("No such container", name)
        return by_name[name]

    return find


@pytest.mark.parametrize(("link", "alias"), [("db:base", "base"), ("db", "db"), ("/db:/web/base", "base")])
def test_lines_and_variables(link: str, alias: str) -> None:
    web, find = container("web", link), known(container("db"))
    links.check(web, find)
    names = dict.fromkeys([alias, "db-host", "db"])
    assert links.hosts(web, find) == [f"172.17.0.2\t{' '.join(names)}"]
    found = links.environment(web, find)
    assert found[:2] == [f"{alias.upper()}_NAME=/web/{alias}", f"{alias.upper()}_PORT=udp://172.17.0.2:53"]
    assert f"{alias.upper()}_ENV_COLOUR=red" in found
    assert f"{alias.upper()}_PORT_80_TCP_ADDR=172.17.0.2" in found
    assert not [line for line in found if "_ENV_PATH" in line]


def test_as_docker_shows_them() -> None:
    web = container("web", "db:base")
    links.settle(web)
    assert web.host["Links"] == ["/db:/web/base"]
    links.settle(web)
    assert web.host["Links"] == ["/db:/web/base"]
    elsewhere = container("web", "db:base", place="lan")
    links.settle(elsewhere)
    assert elsewhere.host["Links"] is None


def test_whom_nobody_can_be_linked_to() -> None:
    web = container("web", "db")
    with pytest.raises(UsageError, match="could not get container for db"):
        links.check(web, known())
    with pytest.raises(StateError, match="does not belong to the default network"):
        links.hosts(web, known(container("db", place="lan")))
    with pytest.raises(StateError, match="non running container"):
        links.environment(web, known(container("db", status="exited", address="")))
