"""What a driver tells its network card over the control queue (virtio 1.2, section 5.1.6.5), and which frames it then wants to get.

A command is {class u8, command u8, its data}; the answer is one byte, OK or ERR. All of it is the guest's and taken only if it is as long
as it says.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final

from gasang.core.protocols import State

OK, ERR = 0, 1
MOST: Final = 1 << 14
"""Bytes of a command: a table of 2,700 addresses."""
MOST_ADDRESSES: Final = 64
"""Of each kind in the table; a driver of more gets all frames of that kind."""
_MODES: Final = ("promiscuous", "all_multicast", "all_unicast", "no_multicast", "no_unicast", "no_broadcast")
"""By number of the command of class 0."""
_BROADCAST: Final = b"\xff" * 6
_TAG: Final = b"\x81\0"
_VLANS: Final = 4096
_AT: Final = 12
"""Where a frame begins behind its header."""


class Wanted:
    """Which frames a driver wants. At first all of them, until it says otherwise."""

    def __init__(self, mac: bytes) -> None:
        self._own = mac
        self.reset()

    def reset(self) -> None:
        """As at power-on."""
        self.mac = self._own
        self.modes = dict.fromkeys(_MODES, False) | {"promiscuous": True}
        self.unicast: frozenset[bytes] | None = frozenset()
        self.multicast: frozenset[bytes] | None = frozenset()
        self.vlans: set[int] | None = None

    def filter_vlans(self) -> None:
        """The driver has agreed to tell the VLANs that it is in; it is in none yet."""
        if self.vlans is None:
            self.vlans = set()

    def passes(self, frame: bytes) -> bool:
        """Whether it is wanted; its header is in front."""
        if self.vlans is not None and frame[_AT + 12 : _AT + 14] == _TAG:
            number = int.from_bytes(frame[_AT + 14 : _AT + 16], "big") & 0xFFF
            if number and number not in self.vlans:
                return False
        if self.modes["promiscuous"]:
            return True
        to = frame[_AT : _AT + 6]
        if to == _BROADCAST:
            return not self.modes["no_broadcast"]
        if to[0] & 1:
            known = self.multicast is None or self.modes["all_multicast"] or to in self.multicast
            return known and not self.modes["no_multicast"]
        known = to == self.mac or self.unicast is None or self.modes["all_unicast"] or to in self.unicast
        return known and not self.modes["no_unicast"]

    def save(self) -> State:
        """All of it."""
        return {
            "mac": self.mac,
            "modes": [name for name, on in self.modes.items() if on],
            "unicast": None if self.unicast is None else sorted(self.unicast),
            "multicast": None if self.multicast is None else sorted(self.multicast),
            "vlans": None if self.vlans is None else sorted(self.vlans),
        }

    def load(self, state: State) -> None:
        """Become the saved one."""
        self.mac = bytes(state["mac"])
        self.modes = {name: name in state["modes"] for name in _MODES}
        self.unicast, self.multicast = (
            None if state[name] is None else frozenset(bytes(each) for each in state[name]) for name in ("unicast", "multicast")
        )
        self.vlans = None if state["vlans"] is None else set(state["vlans"])


class Control:
    """Carries commands out on `wanted`. What concerns more than frames goes to the card: `pairs` of queues, `announced`, `offloads`."""

    def __init__(
        self, wanted: Wanted, pairs: Callable[[int], bool], announced: Callable[[], bool], offloads: Callable[[int], bool]
    ) -> None:
        self._wanted = wanted
        self._commands: Mapping[tuple[int, int], Callable[[bytes], bool]] = {
            **{(0, number): self._mode(name) for number, name in enumerate(_MODES)},
            (1, 0): self._table,
            (1, 1): self._address,
            (2, 0): self._join,
            (2, 1): self._leave,
            (3, 0): lambda data: not data and announced(),
            (4, 0): lambda data: len(data) == 2 and pairs(int.from_bytes(data, "little")),
            (5, 0): lambda data: len(data) == 8 and offloads(int.from_bytes(data, "little")),
        }

    def answer(self, command: bytes, allowed: Callable[[int], bool]) -> int:
        """Carry out a command whose class is allowed; OK or ERR."""
        if len(command) < 2 or not allowed(command[0]):
            return ERR
        action = self._commands.get((command[0], command[1]))
        return OK if action is not None and action(command[2:]) else ERR

    def _mode(self, name: str) -> Callable[[bytes], bool]:
        def switch(data: bytes) -> bool:
            if len(data) != 1 or data[0] > 1:
                return False
            self._wanted.modes[name] = bool(data[0])
            return True

        return switch

    def _table(self, data: bytes) -> bool:
        tables: list[frozenset[bytes] | None] = []
        at = 0
        for _ in range(2):
            if len(data) < at + 4:
                return False
            (count,) = struct.unpack_from("<I", data, at)
            at += 4
            if count * 6 > len(data) - at:
                return False
            known = frozenset(data[at + 6 * number : at + 6 * number + 6] for number in range(count))
            tables.append(known if count <= MOST_ADDRESSES else None)
            at += 6 * count
        if at != len(data):
            return False
        self._wanted.unicast, self._wanted.multicast = tables
        return True

    def _address(self, data: bytes) -> bool:
        if len(data) != 6 or data[0] & 1 or not any(data):
            return False
        self._wanted.mac = data
        return True

    def _join(self, data: bytes) -> bool:
        if (number := _vlan(data)) is None or self._wanted.vlans is None:
            return False
        self._wanted.vlans.add(number)
        return True

    def _leave(self, data: bytes) -> bool:
        if (number := _vlan(data)) is None or self._wanted.vlans is None:
            return False
        self._wanted.vlans.discard(number)
        return True


def _vlan(data: bytes) -> int | None:
    number = int.from_bytes(data, "little")
    return number if len(data) == 2 and number < _VLANS else None
