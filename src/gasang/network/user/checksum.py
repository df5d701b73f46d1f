"""The Internet checksum (RFC 1071).

The sum of 16-bit words with the carry brought around is the number they make, modulo 65535: big integers do that at machine speed. 0 and
65535 stand for the same sum; what is made here is never 0, which is what UDP wants (RFC 768).
"""

from __future__ import annotations

from typing import Final

_MODULUS: Final = 0xFFFF
Data = bytes | bytearray | memoryview


def total(data: Data) -> int:
    """The sum of the words of `data`, 0 to 65534; an odd byte is the high half of a word."""
    view = memoryview(data)
    number = int.from_bytes(view, "big")
    return (number << 8 if len(view) & 1 else number) % _MODULUS


def checksum(data: Data, more: int = 0) -> int:
    """The field's value for data whose field is 0; `more` is the sum of what is elsewhere (a pseudo header)."""
    return _MODULUS - (total(data) + more) % _MODULUS


def is_right(data: Data, more: int = 0) -> bool:
    """Whether data with its field filled in is as it was sent."""
    return (total(data) + more) % _MODULUS == 0


def pseudo(source: bytes, target: bytes, protocol: int, length: int) -> int:
    """The sum of the pseudo header of IPv4 (RFC 9293, 3.1) or IPv6 (RFC 8200, 8.1); addresses are 4 or 16 bytes."""
    return (total(source) + total(target) + protocol + (length >> 16) + (length & 0xFFFF)) % _MODULUS
