"""Which frames are wanted: an expression as tcpdump has it (pcap-filter(7)), of which this much is understood.

    arp ip ip6 tcp udp sctp icmp icmp6 · vlan [N] · [src|dst] host ADDRESS · [src|dst] net ADDRESS/BITS · [tcp|udp|sctp] [src|dst] port N
    ether [src|dst] MAC (or host MAC) · less N · greater N · not, and, or, ( )

`not` binds most, `and` and `or` alike, from left to right, as there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Final

from gasang.core.errors import UsageError
from gasang.network.capture.facts import ARP, ICMP, ICMP6, IP, IP6, SCTP, TCP, UDP, Facts

Test = Callable[[Facts], bool]
MOST_LETTERS: Final = 1000
MOST_NESTED: Final = 32
_WORDS: Final = re.compile(r"\s*(\(|\)|!|&&|\|\||[^\s()!&|]+)")
_KINDS: Final = {"arp": ARP, "ip": IP, "ip6": IP6}
_PROTOCOLS: Final = {"icmp": ICMP, "icmp6": ICMP6, "tcp": TCP, "udp": UDP, "sctp": SCTP}
_SAME: Final = {"&&": "and", "||": "or", "!": "not"}
_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.ASCII)
Pair = tuple[object, object]
_SIDES: Final[dict[str, Callable[[Pair, Callable[[object], bool]], bool]]] = {
    "src": lambda pair, fits: fits(pair[0]),
    "dst": lambda pair, fits: fits(pair[1]),
    "": lambda pair, fits: fits(pair[0]) or fits(pair[1]),
}


def compiled(text: str) -> Test:
    """Whether a frame fits the expression; an empty one fits all. Raises UsageError that names the word it does not understand."""
    if len(text) > MOST_LETTERS:
        raise UsageError("filter", f"it has more than {MOST_LETTERS} letters", "write a shorter one")
    parser = _Parser(text)
    return parser.whole() if text.strip() else lambda _found: True


class _Parser:
    def __init__(self, text: str) -> None:
        self._words: list[str] = []
        at = 0
        while at < len(text.rstrip()):
            found = _WORDS.match(text, at)
            if found is None:
                raise self._wrong(text[at : at + 20].strip())
            self._words.append(_SAME.get(found[1], found[1].lower()))
            at = found.end()
        self._words.reverse()
        self._depth = 0

    def whole(self) -> Test:
        test = self._either()
        if self._words:
            raise self._wrong(self._words[-1])
        return test

    def _either(self) -> Test:
        test = self._single()
        while self._words and self._words[-1] in ("and", "or"):
            word, left, right = self._words.pop(), test, self._single()
            test = _both(left, right) if word == "and" else _any(left, right)
        return test

    def _single(self) -> Test:
        self._depth += 1
        if self._depth > MOST_NESTED:
            raise UsageError("filter", f"it is nested more than {MOST_NESTED} deep", "write a simpler one")
        test = self._primitive()
        self._depth -= 1
        return test

    def _primitive(self) -> Test:
        word = self._next()
        if word == "not":
            inner = self._single()
            return lambda found: not inner(found)
        if word == "(":
            inner = self._either()
            self._expect(")")
            return inner
        if word in _KINDS:
            kind = _KINDS[word]
            return lambda found: found.kind == kind
        if word in _PROTOCOLS:
            return self._protocol(_PROTOCOLS[word])
        if word == "vlan":
            return self._vlan()
        if word in ("less", "greater"):
            most = self._number(1 << 20)
            return (lambda found: found.length <= most) if word == "less" else lambda found: found.length >= most
        if word == "ether":
            return self._ether()
        return self._sided(word)

    def _protocol(self, number: int) -> Test:
        is_it: Test = lambda found: found.protocol == number  # noqa: E731  a test like the others
        if self._words and self._words[-1] in ("src", "dst", "port"):
            return _both(is_it, self._sided(self._next()))
        return is_it

    def _vlan(self) -> Test:
        if self._words and self._words[-1].isdecimal():
            number = self._number(0xFFF)
            return lambda found: found.vlan == number
        return lambda found: found.vlan >= 0

    def _ether(self) -> Test:
        side = self._next() if self._words and self._words[-1] in ("src", "dst") else ""
        word = self._next()
        word = self._next() if word == "host" else word
        if not _MAC.fullmatch(word):
            raise self._wrong(word)
        address, of = bytes.fromhex(word.replace(":", "")), _SIDES[side]
        return lambda found: of((found.source, found.to), lambda each: each == address)

    def _sided(self, word: str) -> Test:
        side, word = (word, self._next()) if word in ("src", "dst") else ("", word)
        of = _SIDES[side]
        if word == "port":
            number = self._number(0xFFFF)
            return lambda found: of((found.source_port, found.target_port), lambda each: each == number)
        if word not in ("host", "net"):
            raise self._wrong(word)
        name = self._next()
        try:
            network = ip_network(ip_address(name)) if word == "host" else ip_network(name, strict=False)
        except ValueError:
            raise self._wrong(name) from None
        size, mask, first = len(network.network_address.packed), int(network.netmask), int(network.network_address)

        def inside(each: object) -> bool:
            return isinstance(each, bytes) and len(each) == size and int.from_bytes(each, "big") & mask == first

        return lambda found: of((found.sender, found.target), inside)

    def _number(self, most: int) -> int:
        word = self._next()
        if not (word.isascii() and word.isdecimal() and len(word) < 9 and int(word) <= most):
            raise self._wrong(word)
        return int(word)

    def _expect(self, word: str) -> None:
        found = self._next()
        if found != word:
            raise self._wrong(found)

    def _next(self) -> str:
        if not self._words:
            raise UsageError("filter", "it ends too early", "write it like 'tcp port 80 and host 10.7.0.2'")
        return self._words.pop()

    @staticmethod
    def _wrong(word: str) -> UsageError:
        return UsageError("filter", f"{word[:40]!r} is not understood there", "write it like 'tcp port 80 and host 10.7.0.2'")


def _both(left: Test, right: Test) -> Test:
    return lambda found: left(found) and right(found)


def _any(left: Test, right: Test) -> Test:
    return lambda found: left(found) or right(found)
