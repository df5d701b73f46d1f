"""A tar header's fields in plain Python, both ways: for archives read for their documents, and for those we write."""

from __future__ import annotations

from gasang.core.errors import BadInputError

BLOCK = 512


def decode_number(field: bytes, subject: str) -> int:
    """Octal digits, or GNU's base 256. Raises BadInputError."""
    if field[:1] in (b"\x80", b"\xff"):
        return int.from_bytes(field[1:], "big") - ((1 << 8 * (len(field) - 1)) if field[0] == 0xFF else 0)
    text = field.strip(b" \0")
    if not text:
        return 0
    try:
        return int(text, 8)
    except ValueError as fault:
        raise BadInputError(subject, "a number in its tar headers is damaged", "pull it again, or make it anew") from fault


def checksum(header: bytes) -> int:
    """The sum of a header's bytes, those of the sum's own field taken as blanks."""
    return sum(header[:148]) + 8 * 32 + sum(header[156:BLOCK])


def _octal(value: int, size: int) -> bytes:
    return b"%0*o\0" % (size - 1, value)


def fits(value: int, size: int) -> bool:
    """Whether a field of `size` bytes can say the number in octal."""
    return 0 <= value < 1 << 3 * (size - 1)


def encode_header(
    name: bytes, mode: int, user: int, group: int, size: int, mtime: int, kind: bytes, link: bytes = b"", device: tuple[int, int] = (0, 0)
) -> bytes:
    """A ustar header; the caller has made sure that everything fits."""
    prefix, short = split_name(name)
    block = bytearray(BLOCK)
    fields = (
        (0, short), (100, _octal(mode, 8)), (108, _octal(user, 8)), (116, _octal(group, 8)), (124, _octal(size, 12)),
        (136, _octal(mtime, 12)),
        (156, kind), (157, link), (257, b"ustar\x0000"), (329, _octal(device[0], 8)), (337, _octal(device[1], 8)), (345, prefix),
    )  # fmt: skip
    for at, value in fields:
        block[at : at + len(value)] = value
    block[148:156] = b"%06o\0 " % checksum(bytes(block))
    return bytes(block)


def split_name(name: bytes) -> tuple[bytes, bytes]:
    """(prefix, name) as ustar wants a name longer than 100 bytes; both empty where it cannot be split."""
    if len(name) <= 100:
        return b"", name
    cut = name.find(b"/", len(name) - 101)
    while cut > 0 and (cut > 155 or not name[cut + 1 :]):
        cut = -1
    return (name[:cut], name[cut + 1 :]) if 0 < cut <= 155 else (b"", b"")
