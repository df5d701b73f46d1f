"""Passing on what rules cannot: from ::1, from one family to the other, and everything where the kernel has no nftables.

One thread serves all published ports: connections as `streams.py` has it, packets as `datagrams.py` has it.
"""

from __future__ import annotations

from collections.abc import Sequence

from gasang.network.datagrams import Datagrams
from gasang.network.loop import Loop
from gasang.network.ports import Held
from gasang.network.spec import Published
from gasang.network.streams import Connections


class Proxy:
    """Serves held ports until they are released. Thread-safe."""

    def __init__(self) -> None:
        self._loop = Loop("gasang-ports")
        self._servers: dict[Published, Connections | Datagrams] = {}

    def serve(self, held: Sequence[Held]) -> None:
        """Pass on what arrives at these ports; their sockets are the proxy's now."""
        self._loop.call(lambda: self._add(held))

    def release(self, ports: Sequence[Published]) -> None:
        """Stop, and close the sockets, before this returns."""
        if ports and self._loop.started:
            self._loop.finish(lambda: self._remove(ports))

    def close(self) -> None:
        """Stop everything."""
        self._loop.close(lambda: self._remove(list(self._servers)))

    def _add(self, held: Sequence[Held]) -> None:
        for item in held:
            self._servers[item.port] = Connections(self._loop, item) if item.port.protocol == "tcp" else Datagrams(self._loop, item)

    def _remove(self, ports: Sequence[Published]) -> None:
        for port in ports:
            server = self._servers.pop(port, None)
            if server:
                server.close()
