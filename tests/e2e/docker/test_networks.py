"""Networks: the default bridge, bridges of the user's with names, host, none, another container's; published ports."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import subprocess
import sys

import pytest

from support.engines.client import until
from support.engines.echo import ECHO
from support.engines.http import call
from support.engines.registry import free_port

# Debian's busybox has no server for datagrams: this one is the host's, in the container's network.
HTTPD = "mkdir -p /www && echo served > /www/index.html && exec httpd -f -p {port} -h /www"


def server(docker, image, name, *options, port=80):
    """A container that serves one page."""
    docker("run", "-d", "--name", name, *options, image, "sh", "-c", HTTPD.format(port=port))
    until(lambda: docker("exec", name, "wget", "-qO-", f"http://127.0.0.1:{port}/", code=None).text == "served")


def fetch(host, port, seconds=5):
    """The page, asked for from the host; "" if there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(seconds)
        try:
            client.connect((host, port))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            data = b""
            while chunk := client.recv(4096):
                data += chunk
        except OSError:
            return ""
    return data.rpartition(b"\r\n\r\n")[2].decode().strip()


def address(docker, name, network="bridge"):
    """A container's address in a network."""
    return docker.inspect(name)["NetworkSettings"]["Networks"][network]["IPAddress"]


def test_the_three_that_are_always_there(docker):
    lines = docker("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}").lines
    assert {"bridge bridge local", "host host local", "none null local"} <= set(lines)


def test_the_default_bridge(docker, image, name):
    docker("run", "-d", "--name", name, image, "sleep", "60")
    settings = docker.inspect(name)["NetworkSettings"]["Networks"]["bridge"]
    network = docker.inspect("network", "bridge")
    subnet = ipaddress.ip_network(network["IPAM"]["Config"][0]["Subnet"])
    assert ipaddress.ip_address(settings["IPAddress"]) in subnet
    assert ipaddress.ip_address(settings["Gateway"]) in subnet
    lines = docker("exec", name, "ip", "-o", "-4", "addr", "show", "dev", "eth0").text.split()
    assert lines[3] == f"{settings['IPAddress']}/{settings['IPPrefixLen']}"
    assert docker("exec", name, "cat", "/sys/class/net/eth0/address").text == settings["MacAddress"]
    assert f"default via {settings['Gateway']}" in docker("exec", name, "ip", "route").text
    assert network["Containers"][docker.format(name, "{{.Id}}")]["Name"] == name


def test_containers_reach_each_other_by_address(docker, image, name):
    server(docker, image, name)
    assert docker("run", "--rm", image, "wget", "-qO-", f"http://{address(docker, name)}/").text == "served"


def test_no_names_on_the_default_bridge(docker, image, name):
    docker("run", "-d", "--name", name, image, "sleep", "60")
    docker("run", "--rm", image, "ping", "-c1", "-W1", name, code=1)


def test_the_host_network(docker, image):
    def names(text):
        return {line.split()[1].rstrip(":").split("@")[0] for line in text.splitlines() if " veth" not in line}

    done = docker("run", "--rm", "--network", "host", image, "sh", "-c", "hostname; ip -o link")
    assert done.lines[0] == socket.gethostname()
    ours = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert names("\n".join(done.lines[1:])) == names(ours)


def test_no_network(docker, image, name):
    done = docker("run", "--name", name, "--network", "none", image, "ls", "/sys/class/net")
    assert [line for line in done.lines if line in ("lo", "eth0")] == ["lo"]
    assert "none" in docker.inspect(name)["NetworkSettings"]["Networks"]


def test_another_containers_network(docker, image, name):
    server(docker, image, name)
    done = docker("run", "--rm", "--network", f"container:{name}", image, "sh", "-c", "wget -qO- http://127.0.0.1/; hostname")
    assert done.lines == ["served", docker.format(name, "{{.Config.Hostname}}")]
    assert (
        "conflicting options" in docker("run", "--rm", "--network", f"container:{name}", "-p", "80", image, "true", code=125).said.lower()
    )


def test_names_and_aliases(docker, image, name, fresh):
    network = fresh("network")
    assert len(docker("network", "create", network).text) == 64
    server(docker, image, name, "--network", network, "--network-alias", "web")
    key = docker.format(name, "{{.Id}}")
    for called in (name, "web", key[:12]):
        assert docker("run", "--rm", "--network", network, image, "wget", "-qO-", f"http://{called}/").text == "served", called
    lines = docker("run", "--rm", "--network", network, image, "cat", "/etc/resolv.conf").lines
    assert "nameserver 127.0.0.11" in lines
    docker("run", "--rm", "--network", network, image, "nslookup", "no-such-name.invalid", code=1)


def test_reverse_names(docker, image, name, fresh):
    network = fresh("network")
    docker("network", "create", network)
    docker("run", "-d", "--name", name, "--network", network, image, "sleep", "60")
    done = docker("run", "--rm", "--network", network, image, "nslookup", address(docker, name, network))
    assert f"{name}.{network}" in done.text


def test_links(docker, image, box):
    first, second = box(), box()
    server(docker, image, first)
    done = docker("run", "--rm", "--name", second, "--link", f"{first}:other", image, "wget", "-qO-", "http://other/")
    assert done.text == "served"


def test_networks_are_apart(docker, image, name, fresh):
    networks = [fresh("network"), fresh("network")]
    for network in networks:
        docker("network", "create", network)
    server(docker, image, name, "--network", networks[0])
    where = address(docker, name, networks[0])
    for network in (networks[1], "bridge"):
        docker("run", "--rm", "--network", network, image, "sh", "-c", f"timeout 2 wget -qO- http://{where}/; exit $?", code=143)
    docker("run", "--rm", "--network", networks[0], image, "sh", "-c", f"timeout 2 wget -qO- http://{where}/; exit $?")


def test_connect_and_disconnect(docker, image, box, fresh):
    network = fresh("network")
    docker("network", "create", network)
    web, client = box(), box()
    server(docker, image, web, "--network", network)
    docker("run", "-d", "--name", client, image, "sleep", "60")
    where = address(docker, web, network)
    docker("exec", client, "timeout", "2", "wget", "-qO-", f"http://{where}/", code=143)
    docker("network", "connect", "--alias", "second", network, client)
    assert docker("exec", client, "wget", "-qO-", f"http://{web}/").text == "served"
    assert {"eth0", "eth1"} <= set(docker("exec", client, "ls", "/sys/class/net").lines)
    assert "second" in docker.inspect(client)["NetworkSettings"]["Networks"][network]["Aliases"]
    docker("network", "disconnect", network, client)
    assert "eth1" not in docker("exec", client, "ls", "/sys/class/net").lines
    assert list(docker.inspect(client)["NetworkSettings"]["Networks"]) == ["bridge"]
    assert "is not connected to" in docker("network", "disconnect", network, client, code=1).said


def test_subnet_and_fixed_address(docker, image, name, fresh):
    network = fresh("network")
    docker(
        "network",
        "create",
        "--subnet",
        "10.213.0.0/24",
        "--gateway",
        "10.213.0.254",
        "--ip-range",
        "10.213.0.128/25",
        "--label",
        "x=y",
        network,
    )
    docker("run", "-d", "--name", name, "--network", network, "--ip", "10.213.0.77", image, "sleep", "60")
    assert address(docker, name, network) == "10.213.0.77"
    done = docker("run", "--rm", "--network", network, image, "sh", "-c", "ip -o -4 addr show dev eth0; ip route")
    given = ipaddress.ip_interface(done.lines[0].split()[3])
    assert given.ip in ipaddress.ip_network("10.213.0.128/25")
    assert "default via 10.213.0.254" in done.text
    assert "in use" in docker("run", "--rm", "--network", network, "--ip", "10.213.0.77", image, "true", code=125).said
    assert "overlap" in docker("network", "create", "--subnet", "10.213.0.0/16", fresh("network"), code=1).said
    assert docker("network", "ls", "-q", "--filter", "label=x=y").text == docker.inspect("network", network)["Id"][:12]


def test_a_mac_address_that_is_asked_for_is_shown(engine, docker, image, box):
    """Of the whole container in Config where it was asked for, whatever the API's version; of the network before the start as well."""
    wanted, other = box(), box()
    docker("create", "--name", wanted, "--mac-address", "02:42:ac:11:aa:bd", image)
    docker("create", "--name", other, image)
    for version in ("1.24", "1.43", "1.45"):
        for name, address in ((wanted, "02:42:ac:11:aa:bd"), (other, None)):
            shown = json.loads(call(engine, "GET", f"/v{version}/containers/{name}/json")[2])
            assert shown["Config"].get("MacAddress") == address
            assert shown["NetworkSettings"]["Networks"]["bridge"]["MacAddress"] == (address or "")


def test_how_a_mac_address_is_asked_for(engine, docker, image, box):
    def create(version, address, networks=None):
        body = {"Image": image, "MacAddress": address, **({"NetworkingConfig": {"EndpointsConfig": networks}} if networks else {})}
        status, _, answer = call(engine, "POST", f"/v{version}/containers/create?name={box()}", body)
        return status, json.loads(answer)

    assert create("1.43", "02:42:ac:11:aa:be")[1]["Warnings"] == []
    assert "MacAddress field is now deprecated" in create("1.44", "02:42:ac:11:aa:be")[1]["Warnings"][0]
    assert create("1.45", "02:42:ac:11:aa:be", {"bridge": {"MacAddress": "02:42:ac:11:aa:be"}})[0] == 201
    status, answer = create("1.45", "02:42:ac:11:aa:be", {"bridge": {"MacAddress": "02:42:ac:11:aa:bf"}})
    assert status == 400
    assert "the container-wide MAC address must match the endpoint-specific MAC address" in answer["message"]
    assert create("1.45", "bogus")[0] == 400


def test_a_fixed_mac_address(docker, image):
    assert (
        docker("run", "--rm", "--mac-address", "02:42:ac:11:aa:bb", image, "cat", "/sys/class/net/eth0/address").text == "02:42:ac:11:aa:bb"
    )


def test_an_internal_network_leads_nowhere(docker, image, fresh):
    network = fresh("network")
    docker("network", "create", "--internal", network)
    assert "default" not in docker("run", "--rm", "--network", network, image, "ip", "route").text
    assert docker.inspect("network", network)["Internal"] is True


def test_removal(docker, image, name, fresh):
    network = fresh("network")
    docker("network", "create", network)
    docker("run", "-d", "--name", name, "--network", network, image, "sleep", "60")
    assert re.search("has active endpoints|disconnect", docker("network", "rm", network, code=1).said)
    docker("rm", "-f", name)
    assert docker("network", "rm", network).text == network
    assert f"network {network} not found" in docker("network", "inspect", network, code=1).said.lower()
    assert f"network {network} not found" in docker("run", "--rm", "--network", network, image, "true", code=125).said.lower()
    assert "pre-defined" in docker("network", "rm", "bridge", code=1).said


def test_a_name_twice(docker, fresh):
    network = fresh("network")
    docker("network", "create", network)
    assert f"network with name {network} already exists" in docker("network", "create", network, code=1).said


def test_prune(docker, fresh):
    network = fresh("network")
    docker("network", "create", "--label", "prune-me", network)
    assert docker("network", "prune", "-f", "--filter", "label=prune-me").lines == ["Deleted Networks:", network, ""]


@pytest.mark.parametrize("published", ["127.0.0.1:{port}:80", "{port}:80"])
def test_a_published_port(docker, image, name, published):
    port = free_port()
    server(docker, image, name, "-p", published.format(port=port))
    assert fetch("127.0.0.1", port) == "served"
    assert docker("port", name, "80").lines[0].endswith(f":{port}")
    assert f":{port}->80/tcp" in docker("ps", "--filter", f"name={name}", "--format", "{{.Ports}}").text
    docker("stop", "-t", "0", name)
    assert fetch("127.0.0.1", port) == ""


def test_where_a_port_is_published_by_default(docker, engine, image, name):
    """Docker differs: there a port is published on all addresses unless one is named."""
    port = free_port()
    docker("run", "-d", "--name", name, "-p", f"{port}:80", image, "sleep", "60")
    addresses = {binding["HostIp"] for binding in docker.inspect(name)["NetworkSettings"]["Ports"]["80/tcp"]}
    assert addresses <= ({"127.0.0.1", "::1"} if engine.name == "gasang" else {"0.0.0.0", "::"})


def test_published_on_all_addresses_when_told_to(docker, image, name):
    port = free_port()
    docker("run", "-d", "--name", name, "-p", f"0.0.0.0:{port}:80", image, "sleep", "60")
    assert docker.inspect(name)["NetworkSettings"]["Ports"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(port)}]}


def test_a_port_is_chosen(docker, image, name):
    server(docker, image, name, "-p", "127.0.0.1::80", "-p", "127.0.0.1::81")
    ports = docker.inspect(name)["NetworkSettings"]["Ports"]
    chosen = [int(ports[f"{port}/tcp"][0]["HostPort"]) for port in (80, 81)]
    assert chosen[0] != chosen[1]
    assert fetch("127.0.0.1", chosen[0]) == "served"


def test_all_exposed_ports(docker, image, name):
    docker("run", "-d", "--name", name, "-P", "--expose", "80", "--expose", "53/udp", image, "sleep", "60")
    lines = docker("port", name).lines
    assert {line.split()[0] for line in lines} == {"80/tcp", "53/udp"}


def test_datagrams(docker, image, name):
    port = free_port()
    docker("run", "-d", "--name", name, "-p", f"127.0.0.1:{port}:99/udp", image, "sleep", "60")
    assert docker("port", name).text == f"99/udp -> 127.0.0.1:{port}"
    command = [sys.executable, "-c", ECHO, docker.format(name, "{{.State.Pid}}"), "99"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        assert server.stdout.readline() == b"ready\n"
        client.settimeout(10)
        client.connect(("127.0.0.1", port))
        client.send(b"hello")
        assert client.recv(100) == b"HELLO"


def test_a_port_that_is_taken(docker, image, name):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = docker("run", "-d", "--name", name, "-p", f"127.0.0.1:{port}:80", image, "sleep", "60", code=125)
        assert "address already in use" in done.said
    assert docker.format(name, "{{.State.Status}}") == "created"


def test_a_port_that_another_container_has(docker, image, box):
    port = free_port()
    docker("run", "-d", "--name", box(), "-p", f"127.0.0.1:{port}:80", image, "sleep", "60")
    assert (
        "port is already allocated"
        in docker("run", "-d", "--name", box(), "-p", f"127.0.0.1:{port}:80", image, "sleep", "60", code=125).said
    )


def test_the_network_of_a_container_that_restarts(docker, image, name, fresh):
    network, port = fresh("network"), free_port()
    docker("network", "create", network)
    server(docker, image, name, "--network", network, "-p", f"127.0.0.1:{port}:80")
    docker("restart", "-t", "0", name)
    until(lambda: fetch("127.0.0.1", port) == "served")
    assert docker("run", "--rm", "--network", network, image, "wget", "-qO-", f"http://{name}/").text == "served"


def test_six(docker, image, name, fresh):
    network = fresh("network")
    docker("network", "create", "--ipv6", "--subnet", "fd00:213::/64", network)
    server(docker, image, name, "--network", network)
    where = docker.inspect(name)["NetworkSettings"]["Networks"][network]["GlobalIPv6Address"]
    assert ipaddress.ip_address(where) in ipaddress.ip_network("fd00:213::/64")
    assert docker("run", "--rm", "--network", network, image, "wget", "-qO-", f"http://[{where}]/").text == "served"


def test_drivers_that_are_not_there(docker, fresh):
    said = docker("network", "create", "-d", "no-such-driver", fresh("network"), code=1).said
    assert "no-such-driver" in said
