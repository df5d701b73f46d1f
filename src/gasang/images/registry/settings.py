"""Where registries are reached: mirrors, plain HTTP, certificates, and how long one waits."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gasang.core.errors import UsageError
from gasang.images.reference import DOCKER_HUB
from gasang.images.registry.ending import Ending

HUB_ADDRESS = "https://registry-1.docker.io"


@dataclass(frozen=True)
class Patience:
    """How long to wait.

    `connect`, `stall`: seconds without an answer, or without a byte, until a connection counts as dead. `attempts`: in a row without
    progress. `longest`: seconds that a registry may ask us to wait (Retry-After). `pause` waits seconds,
    by default until `ending`, which ends all waiting.
    """

    connect: float = 15.0
    stall: float = 30.0
    attempts: int = 5
    longest: float = 60.0
    pause: Callable[[float], object] | None = None
    ending: Ending = field(default_factory=Ending, compare=False)

    def wait(self, seconds: float) -> None:
        """Let seconds pass. Raises Cancelled where it has ended."""
        (self.pause or self.ending.wait)(seconds)
        self.ending.check()


@dataclass(frozen=True)
class Endpoint:
    """An address that serves a registry's repositories; `verified` is whether its certificate must be right."""

    base: str
    verified: bool = True

    @property
    def host(self) -> str:
        """Host and port."""
        return self.base.partition("://")[2].partition("/")[0]


@dataclass(frozen=True)
class Registries:
    """The settings.

    `mirrors`: addresses to be asked before a registry, by its name. `insecure`: hosts (also networks, 10.0.0.0/8) that may be spoken to
    without TLS or with a wrong certificate. `certificates`: a folder with HOST/ca.crt, client.cert and client.key.
    """

    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    insecure: frozenset[str] = frozenset()
    certificates: Path | None = None
    patience: Patience = field(default_factory=Patience)
    parallel: int = 4
    """Blobs transferred at once."""

    def until(self, ending: Ending) -> Registries:
        """The same settings, for work that is over with `ending`."""
        return replace(self, patience=replace(self.patience, ending=ending))

    def endpoints(self, registry: str) -> list[Endpoint]:
        """The addresses that a registry may have: the first one that answers is it."""
        if registry == DOCKER_HUB:
            return [Endpoint(HUB_ADDRESS)]
        if is_loopback(registry):
            return [Endpoint(f"http://{registry}"), Endpoint(f"https://{registry}", verified=False)]
        if self.is_insecure(registry):
            return [Endpoint(f"https://{registry}", verified=False), Endpoint(f"http://{registry}")]
        return [Endpoint(f"https://{registry}")]

    def mirrors_of(self, registry: str) -> list[Endpoint]:
        """The addresses to be asked before it. Raises UsageError for one that is none."""
        return [self._mirror(base) for base in self.mirrors.get(registry, ())]

    def _mirror(self, base: str) -> Endpoint:
        if not base.startswith(("http://", "https://")):
            raise UsageError(f"mirror {base[:80]!r}", "that is no address", "write it like https://mirror.example")
        host = base.partition("://")[2].partition("/")[0]
        return Endpoint(base.rstrip("/"), verified=not (self.is_insecure(host) or is_loopback(host)))

    def is_insecure(self, registry: str) -> bool:
        """Whether the user allows it to be."""
        if registry in self.insecure or host_of(registry) in self.insecure:
            return True
        address = _address(registry)
        return address is not None and any(address in network for network in self._networks())

    def _networks(self) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        found = []
        for text in self.insecure:
            if "/" in text:
                try:
                    found.append(ipaddress.ip_network(text, strict=False))
                except ValueError as fault:
                    raise UsageError(f"insecure registry {text[:80]!r}", "that is no network", "write it like 10.0.0.0/8") from fault
        return found

    def tls(self, endpoint: Endpoint) -> ssl.SSLContext:
        """How certificates are checked there, and ours. Raises UsageError for a damaged certificate of the user's."""
        context = ssl.create_default_context()
        if not endpoint.verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        folder = self.certificates / endpoint.host if self.certificates else None
        if folder is not None and folder.is_dir():
            try:
                for path in sorted(folder.glob("*.crt")):
                    context.load_verify_locations(path)
                for path in sorted(folder.glob("*.cert")):
                    context.load_cert_chain(path, path.with_suffix(".key"))
            except (OSError, ssl.SSLError) as fault:
                raise UsageError(f"folder {folder}", f"a certificate in it cannot be used ({fault})", "mend or remove it") from fault
        return context


def host_of(registry: str) -> str:
    """A registry's host without its port."""
    if registry.startswith("["):
        return registry[1:].partition("]")[0]
    return registry.rpartition(":")[0] if ":" in registry else registry


def _address(registry: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host_of(registry))
    except ValueError:
        return None


def is_loopback(registry: str) -> bool:
    """Whether a registry is on this machine: nobody between can listen."""
    address = _address(registry)
    return host_of(registry) == "localhost" or (address is not None and address.is_loopback)
