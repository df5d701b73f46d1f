"""NBD addresses (NetworkBlockDevice/nbd, doc/uri.md): nbd://HOST[:PORT]/NAME and nbd+unix:///NAME?socket=PATH."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from gasang.core.errors import UnsupportedError, UsageError
from gasang.storage.nbd.protocol import NAME_MAX, PORT

SCHEMES = ("nbd://", "nbd+unix://")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a disk is offered: on a Unix socket, if it has a path, else on a host's port; and the disk's name there.

    With a `descriptor` it is the other end of that socket, which is connected, once.
    """

    name: str = ""
    host: str = ""
    port: int = PORT
    path: str = ""
    descriptor: int = -1

    def __str__(self) -> str:
        if self.path:
            return f"nbd+unix:///{quote(self.name)}?socket={quote(self.path)}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"nbd://{host}:{self.port}/{quote(self.name)}"


def parse(text: str) -> Address:
    """The address that `text` is. Raises UsageError for one that is malformed, UnsupportedError for TLS."""
    hint = "write nbd://HOST[:PORT]/NAME or nbd+unix:///NAME?socket=PATH"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"disk {text}", "that is no address", hint) from error
    if parts.scheme.startswith("nbds"):
        raise UnsupportedError(f"disk {text}", "TLS is not known here", "use an ssh tunnel to the server's socket")
    query = dict(parse_qsl(parts.query))
    name = unquote(parts.path[1:])
    if len(name.encode()) > NAME_MAX or "\0" in name:
        raise UsageError(f"disk {text}", "the name of its export is too long", hint)
    if parts.scheme == "nbd+unix" and query.get("socket") and set(query) == {"socket"} and not parts.netloc:
        return Address(name, path=query["socket"])
    if parts.scheme == "nbd" and parts.hostname and not query and parts.username is None:
        return Address(name, parts.hostname, PORT if port is None else port)
    raise UsageError(f"disk {text}", "that is no address of an NBD disk", hint)
