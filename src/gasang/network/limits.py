"""What a network allows at each of its ports: rate, delay, loss, tags, and whose addresses a machine may say are its own.

They are asked for as options of the network (`gasang.bandwidth=100M` …), which every client of the API can give.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gasang.core.errors import UsageError
from gasang.network.spec import Record

PREFIX: Final = "gasang."
OF_TUNNELS: Final = ("vxlan", "peers", "vxlan-port")
"""Options of ours that are no limits (overlay.py)."""
_RATES: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_TIMES: Final = {"us": 1, "ms": 1000, "s": 1_000_000}
LEAST_RATE, MOST_RATE = 8_000, 400_000_000_000
MOST_DELAY: Final = 10_000_000
"""Ten seconds in microseconds: more is a network that is down."""
MILLION: Final = 1_000_000
LAST_VLAN: Final = 4094
"""IEEE 802.1Q, 9.6: 4095 is reserved."""


@dataclass(frozen=True, slots=True)
class Limits(Record):
    """What holds for each port. 0, and `guard` false: nothing of it does.

    `bandwidth`: bits a second, each way. `latency`: microseconds that a frame waits on its way to the machine. `loss`: frames of a million
    that are lost on their way from it. `vlan`: the only VLAN whose tag a frame may bear. `guard`: a machine sends with its own hardware and
    network addresses alone, and advertises no router.
    """

    bandwidth: int = 0
    latency: int = 0
    loss: int = 0
    vlan: int = 0
    guard: bool = False

    @property
    def rules(self) -> bool:
        """Whether rules at the port are needed."""
        return bool(self.loss or self.vlan or self.guard)


def rate(text: str) -> int:
    """Bits a second, as in 100M or 1.5G (powers of ten). Raises UsageError."""
    value = _amount(text, "bandwidth", r"(k|m|g)?(?:bit(?:/s)?)?", _RATES, "write it like 100M, in bits a second")
    if not LEAST_RATE <= value <= MOST_RATE:
        raise UsageError(f"bandwidth {text[:20]!r}", f"it is not between {LEAST_RATE} and {MOST_RATE} bits a second", "write it like 100M")
    return value


def delay(text: str) -> int:
    """Microseconds, as in 20ms. Raises UsageError."""
    value = _amount(text, "latency", "(us|ms|s)", _TIMES, "write it like 20ms")
    if value > MOST_DELAY:
        raise UsageError(f"latency {text[:20]!r}", "it is more than ten seconds", "write it like 20ms")
    return value


def share(text: str) -> int:
    """Millionths, as in 0.5%. Raises UsageError."""
    value = _amount(text, "loss", "(%)", {"%": MILLION // 100}, "write it like 0.5%")
    if value > MILLION:
        raise UsageError(f"loss {text[:20]!r}", "it is more than everything", "write it like 0.5%")
    return value


def vlan(text: str) -> int:
    """A VLAN's number. Raises UsageError."""
    if not (text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= LAST_VLAN):
        raise UsageError(f"VLAN {text[:20]!r}", f"it is no number from 1 to {LAST_VLAN}", "write it like 12")
    return int(text)


def truth(text: str) -> bool:
    """True or false. Raises UsageError."""
    if text.lower() not in ("true", "1", "false", "0"):
        raise UsageError(f"guard {text[:20]!r}", "it is neither true nor false", "write true")
    return text.lower() in ("true", "1")


READERS: Final[Mapping[str, Callable[[str], Any]]] = {"bandwidth": rate, "latency": delay, "loss": share, "vlan": vlan, "guard": truth}


def limits_of(options: Mapping[str, str]) -> Limits:
    """The limits among a network's options. Raises UsageError for one of ours that is unknown or wrong."""
    found: dict[str, Any] = {}
    for key, text in options.items():
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX)
        if name in OF_TUNNELS:
            continue
        if name not in READERS:
            known = ", ".join(PREFIX + each for each in READERS)
            raise UsageError(f"option {key[:40]!r}", "there is none of that name", f"use one of {known}")
        found[name] = READERS[name](text)
    return Limits(**found)


def _amount(text: str, what: str, units: str, factors: Mapping[str, int], hint: str) -> int:
    found = re.fullmatch(rf"([0-9]{{1,12}}(?:\.[0-9]{{1,9}})?){units}", text.strip().lower(), re.ASCII)
    if found is None:
        raise UsageError(f"{what} {text[:20]!r}", "it is no such amount", hint)
    whole, _, fraction = found[1].partition(".")
    factor = factors[found[2] or ""]
    return int(whole) * factor + int(fraction.ljust(9, "0")) * factor // 10**9
