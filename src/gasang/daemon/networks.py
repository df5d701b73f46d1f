"""Containers' networks: which namespace each is in, what it is connected to, and what the API shows of it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from gasang.core.errors import GasangError, NotFoundError, PermissionDeniedError, StateError, UnsupportedError, UsageError
from gasang.daemon.containers.record import Container
from gasang.daemon.events import Events
from gasang.daemon.records import Database, Table
from gasang.host import netns
from gasang.network.names import tag_of
from gasang.network.networks import Networks as Host
from gasang.network.spec import Endpoint, EndpointSpec, Network, NetworkSpec, PortSpec, Published, SubnetSpec

_PORT: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?")
_BUILTIN: Final = ("bridge", "host", "none")


def ports_of(container: Container) -> list[PortSpec]:
    """What a container asks to publish. Raises UsageError."""
    wanted: list[PortSpec] = []
    bindings = container.host["PortBindings"] or {}
    for name, hosts in bindings.items():
        number, protocol = _port(name)
        for host in hosts or [{}]:
            if not isinstance(host, dict):
                raise UsageError(f"port {name[:20]}", "its binding is not an object", "correct it")
            first, last = _range(str(host.get("HostPort") or "0"))
            wanted.append(PortSpec(number, protocol, str(host.get("HostIp") or ""), first, last))
    if container.host["PublishAllPorts"]:
        for name in container.config["ExposedPorts"] or {}:
            if name not in bindings:
                wanted += [PortSpec(*_port(name))]
    return wanted


def _port(name: str) -> tuple[int, str]:
    found = _PORT.fullmatch(name)
    if not found or found[2] or not 0 < int(found[1]) < 65536:
        raise UsageError(f"port {name[:20]!r}", "it is no port", "write NUMBER/tcp or NUMBER/udp")
    if found[3] == "sctp":
        raise UnsupportedError(f"port {name[:20]}", "SCTP ports are not published", "use TCP or UDP")
    return int(found[1]), found[3] or "tcp"


def _range(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text)
    if not found or int(found[1]) > 65535 or int(found[2] or 0) > 65535:
        raise UsageError(f"host port {text[:20]!r}", "it is no port", "write a number below 65536")
    return int(found[1]), int(found[2] or 0)


def network_id(name: str) -> str:
    """The id by which clients know host and none, which are no networks of their own here."""
    import hashlib

    return hashlib.sha256(f"gasang network {name}".encode()).hexdigest()


class ContainerNetworks:
    """The networks of a daemon, made when first used."""

    def __init__(self, database: Database, events: Events, folder: str, find: Callable[[str], Container]) -> None:
        self._table = Table(database, "network")
        self._events = events
        self._find = find
        state: dict[str, dict[str, Any]] = {"network": {}, "endpoint": {}, "host": {}}
        for key in self._table:
            kind, _, name = key.partition("/")
            state[kind][name] = self._table[key]
        self.host = Host(state, tag=tag_of(folder), store=self._store)
        self._held: dict[str, int] = {}
        self._tidy: asyncio.TimerHandle | None = None

    def _store(self, kind: str, key: str, value: dict[str, Any] | None) -> None:
        if value is None:
            self._table.drop(f"{kind}/{key}")
        else:
            self._table.put(f"{kind}/{key}", value)

    # joining

    def check(self, container: Container) -> None:
        """Raise NotFoundError where the container names a network or a container that is not there, UsageError for a bad port."""
        mode = container.host["NetworkMode"]
        if mode.startswith("container:"):
            self._find(mode.removeprefix("container:"))
        for name in container.endpoints:
            if name not in _BUILTIN:
                self.find(name)
        ports_of(container)

    async def join(self, container: Container) -> dict[str, str]:
        """Make the container's network, and fill in the record's; the namespaces it joins, by kind. Raises GasangError."""
        mode = container.host["NetworkMode"]
        if container.config["NetworkDisabled"] or mode == "none":
            return {}
        if mode == "host":
            return {"network": ""}
        if mode.startswith("container:"):
            other = self._find(mode.removeprefix("container:"))
            if not other.status.alive:
                raise StateError(f"network of {container.subject}", f"container {other.name} is not running", "start it first")
            return {"network": f"/proc/{other.status.pid}/ns/net"}
        namespace = await asyncio.to_thread(self._connect_all, container)
        return {"network": f"/proc/{os.getpid()}/fd/{namespace}"}

    def _connect_all(self, container: Container) -> int:
        namespace = netns.create()
        self._held[container.id] = namespace
        try:
            for name in container.endpoints:
                self._connect(container, name, namespace)
            self._publish(container)
        except (GasangError, OSError):
            self._leave(container, dying=False)
            raise
        return namespace

    def _network(self, name: str) -> Network:
        return self.host.default() if name in ("bridge", "default") else self.find(name)

    def _connect(self, container: Container, name: str, namespace: int) -> None:
        network = self._network(name)
        asked = container.endpoints[name]
        fixed = asked.get("IPAMConfig") or {}
        aliases = tuple(dict.fromkeys([*(asked.get("Aliases") or []), container.short]))
        spec = EndpointSpec(
            machine=container.id,
            name=container.name,
            aliases=aliases,
            ipv4=fixed.get("IPv4Address") or "",
            ipv6=fixed.get("IPv6Address") or "",
            mac=asked.get("MacAddress") or "",
            resolvers=tuple(container.host["Dns"] or ()),
        )
        try:
            endpoint = self.host.connect(network.id, namespace, spec)
        except StateError as error:
            if spec.ipv4 and spec.ipv4 in error.subject:
                raise StateError(f"Address already in use: {spec.ipv4}", error.cause, error.hint) from error
            raise
        asked.update(self._shown(network, endpoint))

    def _shown(self, network: Network, endpoint: Endpoint) -> dict[str, Any]:
        address4, _, prefix4 = endpoint.ipv4.partition("/")
        address6, _, prefix6 = endpoint.ipv6.partition("/")
        return {
            "NetworkID": network.id,
            "EndpointID": endpoint.id,
            "MacAddress": endpoint.mac,
            "Gateway": endpoint.gateway4,
            "IPAddress": address4,
            "IPPrefixLen": int(prefix4 or 0),
            "IPv6Gateway": endpoint.gateway6,
            "GlobalIPv6Address": address6,
            "GlobalIPv6PrefixLen": int(prefix6 or 0),
            "DNSNames": None if network.default else list(dict.fromkeys([endpoint.name, *endpoint.aliases])),
        }

    def _publish(self, container: Container) -> None:
        wanted = ports_of(container)
        container.ports = {}
        ends = self.host.endpoints(machine=container.id)
        if not wanted or not ends:
            return
        routed = next((end for end in ends if end.gateway4 or end.gateway6), ends[0])
        try:
            published = self.host.publish(routed, wanted)
        except StateError as error:
            raise self._port_taken(wanted, error) from error
        for port in published:
            self._show_port(container, port)

    def _port_taken(self, wanted: list[PortSpec], error: StateError) -> StateError:
        """In Docker's words: another container has the port, or another program of the host."""
        held = {(port.protocol, port.host_port) for endpoint in self.host.endpoints() for port in endpoint.published}
        for spec in wanted:
            if spec.host_port and (spec.protocol, spec.host_port) in held:
                where = f"{spec.host_address or '127.0.0.1'}:{spec.host_port}"
                return StateError(f"Bind for {where} failed: port is already allocated", "another container has it", "choose another port")
        return StateError(
            f"failed to bind host port: {error.subject}: address already in use", "another program has it", "choose another port"
        )

    def _show_port(self, container: Container, port: Published) -> None:
        binding = {"HostIp": port.host_address, "HostPort": str(port.host_port)}
        container.ports.setdefault(f"{port.machine_port}/{port.protocol}", []).append(binding)

    async def leave(self, container: Container) -> None:
        """Put the container's network away; what it had is no longer in its record."""
        await asyncio.to_thread(self._leave, container)
        self._tidy_later()

    def _leave(self, container: Container, *, dying: bool = True) -> None:
        for endpoint in self.host.endpoints(machine=container.id):
            self.host.disconnect(endpoint, dying=dying)
        namespace = self._held.pop(container.id, None)
        if namespace is not None:
            os.close(namespace)
        container.ports = {}
        for asked in container.endpoints.values():
            asked.update({"EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "GlobalIPv6Address": "", "IPv6Gateway": ""})

    def started(self, container: Container) -> None:
        """The process holds its namespace now: we need not."""
        namespace = self._held.pop(container.id, None)
        if namespace is not None:
            os.close(namespace)

    def _tidy_later(self, after: float | None = 0.0) -> None:
        if after is None or self._tidy is not None:
            return
        self._tidy = asyncio.get_running_loop().call_later(after, lambda: asyncio.ensure_future(self._tidy_now()))

    async def _tidy_now(self) -> None:
        self._tidy = None
        again = await asyncio.to_thread(self.host.tidy)
        self._tidy_later(again)

    def reconcile(self, containers: list[Container]) -> None:
        """After a restart of the daemon: put away what belongs to none of these, which run."""
        held: dict[str, int] = {}
        try:
            for container in containers:
                held[container.id] = netns.of_process(container.status.pid)
            self.host.reconcile(held)
        finally:
            for descriptor in held.values():
                os.close(descriptor)

    # connecting and disconnecting what runs

    def connect(self, name: str, container: Container, asked: dict[str, Any]) -> None:
        """Join a container, running or not, to one more network. Raises GasangError."""
        network = self.find(name)
        if network.name in container.endpoints:
            raise StateError(f"endpoint {container.name}", f"it already exists in network {network.name}", "disconnect it first")
        container.endpoints[network.name] = asked
        if container.status.alive:
            namespace = netns.of_process(container.status.pid)
            try:
                self._connect(container, network.name, namespace)
            except GasangError:
                del container.endpoints[network.name]
                raise
            finally:
                os.close(namespace)
        self._events.tell("network", "connect", network.id, {"container": container.id, "name": network.name, "type": "bridge"})

    def disconnect(self, name: str, container: Container) -> None:
        """Take a container out of a network. Raises GasangError."""
        network = self._network(name)
        if network.name not in container.endpoints:
            raise StateError(
                f"container {container.id}", f"is not connected to network {network.name}", "docker inspect tells its networks"
            )
        namespace = netns.of_process(container.status.pid) if container.status.alive else None
        try:
            for endpoint in self.host.endpoints(network.id, container.id):
                self.host.disconnect(endpoint, namespace=namespace)
        finally:
            if namespace is not None:
                os.close(namespace)
        del container.endpoints[network.name]
        self._events.tell("network", "disconnect", network.id, {"container": container.id, "name": network.name, "type": "bridge"})

    # what containers read

    def files(self, container: Container) -> dict[str, str]:
        """The contents of /etc/hosts and /etc/resolv.conf."""
        mode = container.host["NetworkMode"]
        if mode == "host":
            return {"hosts": _host_file("/etc/hosts"), "resolv.conf": self._resolver(container)}
        lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", "fe00::0\tip6-localnet"]
        lines += ["ff00::0\tip6-mcastprefix", "ff02::1\tip6-allnodes", "ff02::2\tip6-allrouters"]
        for extra in container.host["ExtraHosts"] or []:
            name, _, address = extra.partition("=") if "=" in extra else extra.partition(":")
            if address == "host-gateway":
                address = next((end["Gateway"] for end in container.endpoints.values() if end.get("Gateway")), "")
            if name and address:
                lines.append(f"{address}\t{name}")
        hostname = container.config["Hostname"]
        domain = f"{hostname}.{container.config['Domainname']} " if container.config["Domainname"] else ""
        short = f" {hostname.partition('.')[0]}" if "." in hostname else ""
        lines += self._links(container)
        for end in container.endpoints.values():
            for address in (end.get("IPAddress"), end.get("GlobalIPv6Address")):
                if address:
                    lines.append(f"{address}\t{domain}{hostname}{short}")
        return {"hosts": "\n".join(lines) + "\n", "resolv.conf": self._resolver(container)}

    def _links(self, container: Container) -> list[str]:
        """Lines for containers of the default bridge that are linked by name, as it was done before there were named networks."""
        lines = []
        for link in container.host["Links"] or []:
            name, _, alias = link.partition(":")
            other = self._find(name)
            address = other.endpoints.get("bridge", {}).get("IPAddress")
            if not address:
                raise StateError(f"Cannot link to {name}", "it is not running on the default bridge", "start it first")
            names = dict.fromkeys([alias or other.name, other.config["Hostname"], other.name])
            lines.append(f"{address}\t{' '.join(names)}")
        return lines

    def _resolver(self, container: Container) -> str:
        """The resolver of a network answers by names, and asks the container's or the host's own for the rest."""
        host = container.host
        ends = self.host.endpoints(machine=container.id)
        if ends:
            return self.host.resolv_conf(ends[0], host["DnsSearch"] or (), host["DnsOptions"] or ())
        theirs = _host_file("/etc/resolv.conf")
        if not (host["Dns"] or host["DnsSearch"] or host["DnsOptions"]):
            return theirs
        lines = [f"nameserver {server}" for server in host["Dns"] or []]
        lines += [f"search {' '.join(host['DnsSearch'])}"] if host["DnsSearch"] else []
        lines += [f"options {' '.join(host['DnsOptions'])}"] if host["DnsOptions"] else []
        return "\n".join(lines) + "\n"

    # the API's view

    def create(self, name: str, document: dict[str, Any]) -> Network:
        """A new network out of the API's document. Raises GasangError."""
        driver = document.get("Driver") or "bridge"
        if driver != "bridge":
            raise UnsupportedError(f"network driver {str(driver)[:40]!r}", "there is only 'bridge' on one host", "leave the driver out")
        options = document.get("Options") or {}
        spec = NetworkSpec(
            name=name,
            subnets=tuple(_subnets(document.get("IPAM") or {})),
            ipv6=bool(document.get("EnableIPv6")),
            internal=bool(document.get("Internal")),
            icc=str(options.get("com.docker.network.bridge.enable_icc", "true")).lower() != "false",
            masquerade=str(options.get("com.docker.network.bridge.enable_ip_masquerade", "true")).lower() != "false",
            mtu=_mtu(options),
            bridge=str(options.get("com.docker.network.bridge.name", "")),
            labels={str(key): str(value) for key, value in (document.get("Labels") or {}).items()},
            options={str(key): str(value) for key, value in options.items()},
        )
        if any(network.name == name for network in self.host.list()) or name in _BUILTIN:
            raise StateError(f"network with name {name} already exists", "names are given once", "choose another")
        made = self.host.create(spec)
        self._events.tell("network", "create", made.id, {"name": made.name, "type": "bridge"})
        return made

    def remove(self, name: str) -> Network:
        """Remove a network. Raises GasangError."""
        if name in ("host", "none", network_id("host"), network_id("none")):
            raise StateError(f"network {name}", "it is a pre-defined network and cannot be removed")
        network = self.find(name)
        members = [end.name or end.machine[:12] for end in self.host.endpoints(network.id)]
        if members:
            inside = " ".join(f'name:"{member}"' for member in sorted(members))
            raise PermissionDeniedError(
                f"error while removing network: network {network.name} has active endpoints ({inside})", "disconnect them first"
            )
        gone = self.host.remove(name)
        self._events.tell("network", "destroy", gone.id, {"name": gone.name, "type": "bridge"})
        return gone

    def find(self, name: str) -> Network:
        """The network of a name or id. Raises NotFoundError in Docker's words."""
        try:
            return self.host.inspect(name)
        except NotFoundError:
            raise NotFoundError(f"network {name[:80]} not found", "docker network ls lists what is here") from None

    def show(self, network: Network) -> dict[str, Any]:
        """A network as the API shows it."""
        spec = network.spec
        config = []
        for subnet in network.subnets:
            entry = {"Subnet": subnet.subnet, "Gateway": subnet.gateway, "IPRange": subnet.range}
            config.append({key: value for key, value in entry.items() if value})
        return {
            **self._shell(
                network.name, network.id, "bridge", datetime.fromtimestamp(network.created / 1e9, UTC).isoformat().replace("+00:00", "Z")
            ),
            "EnableIPv6": any(":" in subnet.subnet for subnet in network.subnets),
            "IPAM": {"Driver": "default", "Options": None, "Config": config},
            "Internal": spec.internal,
            "Containers": {
                end.machine: {
                    "Name": end.name,
                    "EndpointID": end.id,
                    "MacAddress": end.mac,
                    "IPv4Address": end.ipv4,
                    "IPv6Address": end.ipv6,
                }
                for end in self.host.endpoints(network.id)
            },
            "Options": spec.options,
            "Labels": spec.labels,
        }

    def show_builtin(self, name: str) -> dict[str, Any]:
        """Host or none as the API shows them."""
        return self._shell(name, network_id(name), "host" if name == "host" else "null", "1970-01-01T00:00:00Z")

    def _shell(self, name: str, key: str, driver: str, created: str) -> dict[str, Any]:
        return {
            "Name": name,
            "Id": key,
            "Created": created,
            "Scope": "local",
            "Driver": driver,
            "EnableIPv4": True,
            "EnableIPv6": False,
            "IPAM": {"Driver": "default", "Options": None, "Config": []},
            "Internal": False,
            "Attachable": False,
            "Ingress": False,
            "ConfigFrom": {"Network": ""},
            "ConfigOnly": False,
            "Containers": {},
            "Options": {},
            "Labels": {},
        }


def _mtu(options: dict[str, Any]) -> int:
    text = str(options.get("com.docker.network.driver.mtu", "0"))
    if not text.isdecimal() or len(text) > 6:
        raise UsageError(f"mtu {text[:20]!r}", "it is no number", "for example 1500")
    return int(text)


def _subnets(document: dict[str, Any]) -> list[SubnetSpec]:
    made = []
    for entry in document.get("Config") or []:
        if not isinstance(entry, dict):
            raise UsageError("IPAM config", "an entry is not an object", "correct it")
        if entry.get("Subnet"):
            reserved = {str(key): str(value) for key, value in (entry.get("AuxiliaryAddresses") or entry.get("AuxAddress") or {}).items()}
            made.append(SubnetSpec(str(entry["Subnet"]), str(entry.get("Gateway") or ""), str(entry.get("IPRange") or ""), reserved))
    return made


def _host_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(65536)
    except OSError:
        return ""
