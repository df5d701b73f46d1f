"""Which symbols a relocatable ELF object leaves undefined (System V ABI, chapter 4, "Symbol Table")."""

from __future__ import annotations

import struct

_SYMBOL_TABLE = 2


def undefined_symbols(data: bytes) -> set[str]:
    """Names of the undefined symbols of a 64-bit little-endian object. Raises ValueError if it is damaged."""
    try:
        return set(_walk(data))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError("damaged object") from error


def _walk(data: bytes) -> list[str]:
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("no 64-bit ELF object")
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + index * size) for index in range(count)]
    names: list[str] = []
    for section in sections:
        if section[1] != _SYMBOL_TABLE:
            continue
        offset, length, strings = section[4], section[5], sections[section[6]]
        text = data[strings[4] : strings[4] + strings[5]]
        for position in range(offset + 24, offset + length, 24):
            name, _, _, index, _, _ = struct.unpack_from("<IBBHQQ", data, position)
            if index == 0 and name:
                names.append(text[name : text.index(b"\0", name)].decode("ascii"))
    return names
