"""Who has which address of a pool, and until when: for DHCP of both families. No clock; `now` is in seconds.

Whoever asks under ever new names gets offers, which are short, and once the pool is empty nothing; those who have an address keep it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

SECONDS: Final = 86400
OFFERED: Final = 60.0
"""Seconds for which an address that was offered waits for its client (RFC 2131, 3.1)."""
SHUNNED: Final = 600.0
"""Seconds for which one is not given out that a client found in use (RFC 2131, 4.3.3)."""


@dataclass(slots=True)
class _Lease:
    address: bytes
    until: float


class Leases:
    """Of the addresses of `pool`, packed, the first one first; `reserved` are those of known hardware addresses, and of nobody else."""

    def __init__(self, pool: Sequence[bytes], reserved: Mapping[bytes, bytes] | None = None) -> None:
        self._reserved = dict(reserved or {})
        kept = set(self._reserved.values())
        self._pool = tuple(address for address in pool if address not in kept)
        self._free = dict.fromkeys(self._pool)
        self._held: dict[bytes, _Lease] = {}
        self._shunned: dict[bytes, float] = {}
        self._told = False

    def offer(self, client: bytes, mac: bytes, wanted: bytes, now: float) -> bytes | None:
        """An address for a client: its own, the one it wants if that is free, or another; None: there are no more."""
        self._expire(now, client)
        if mac in self._reserved:
            return self._reserved[mac]
        held = self._held.get(client)
        if held is None:
            address = wanted if wanted in self._free else next(iter(self._free), None)
            if address is None:
                self._tell()
                return None
            del self._free[address]
            held = self._held[client] = _Lease(address, 0.0)
        held.until = max(held.until, now + OFFERED)
        return held.address

    def _tell(self) -> None:
        """Once, until there is one again: who exhausts it can ask as often as he likes."""
        if self._pool and not self._told:
            self._told = True
            import logging  # who serves one guest alone hardly ever needs it, and begins sooner without

            log = logging.getLogger(__name__)
            log.warning("DHCP: all %d addresses are taken; who asks now gets none until one is given back", len(self._pool))

    def of(self, client: bytes, mac: bytes, now: float) -> bytes | None:
        """The address that a client has, or was offered."""
        self._expire(now, client)
        held = self._held.get(client)
        return self._reserved.get(mac) or (held.address if held is not None else None)

    def bind(self, client: bytes, mac: bytes, address: bytes, now: float) -> bool:
        """It takes, or keeps, the address that it was offered or that is free."""
        if self.offer(client, mac, address, now) != address:
            return False
        if mac not in self._reserved:
            self._held[client].until = now + SECONDS
        return True

    def release(self, client: bytes, address: bytes) -> None:
        """It needs its address no more."""
        held = self._held.get(client)
        if held is not None and held.address == address:
            del self._held[client]
            self._free[address] = None

    def decline(self, client: bytes, address: bytes, now: float) -> None:
        """It found its address in use by somebody else."""
        held = self._held.get(client)
        if held is not None and held.address == address:
            del self._held[client]
            self._shunned[address] = now + SHUNNED

    def _expire(self, now: float, asks: bytes) -> None:
        for address in [address for address, until in self._shunned.items() if until <= now]:
            del self._shunned[address]
            self._free[address] = None
        for client, lease in [(client, lease) for client, lease in self._held.items() if lease.until <= now and client != asks]:
            del self._held[client]
            self._free[lease.address] = None
        self._told = self._told and not self._free
