"""What makes a restored or forked machine another one than that it came from.

`generation` goes into the board's generation id: the guest's kernel seeds its random numbers anew when it changes. A network card made for
the machine takes `mac`. `name` is for whoever names machines. The guest's clock: its counter goes on where it stood, and the board's RTC
shows the time of day, which the guest takes over when somebody in it asks (`hwclock --hctosys`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from gasang.devices.generation_id import LENGTH


@dataclass(frozen=True)
class Identity:
    """One machine's own."""

    name: str
    mac: bytes
    generation: bytes

    @classmethod
    def fresh(cls, name: str = "") -> Identity:
        """A new one, from the host's random numbers; the address is locally administered and no group's (IEEE 802, 8.4)."""
        first, *rest = secrets.token_bytes(6)
        return cls(name or f"vm-{secrets.token_hex(4)}", bytes((first & 0xFC | 2, *rest)), secrets.token_bytes(LENGTH))
