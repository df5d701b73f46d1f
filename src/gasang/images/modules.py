"""What a kernel module says about itself: the `.modinfo` section of its ELF file (kernel: include/linux/moduleparam.h).

`depmod` would compute the same; the package ships no modules.dep, its maintainer script makes one, and that has not run yet.
"""

from __future__ import annotations

import struct

from gasang.core.errors import BadInputError

_SUFFIXES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")
_SECTION = struct.Struct("<IIQQQQIIQQ")


_SIGNED = b"~Module signature appended~\n"
_SIGNATURE_SIZE = struct.Struct(">I")
_SIGNATURE_HEADER = 12


def strip_suffix(path: str) -> str | None:
    """The path without .ko and a compression's suffix; None where it is no module."""
    suffix = next((suffix for suffix in _SUFFIXES if path.endswith(suffix)), None)
    return path[: -len(suffix)] if suffix else None


def name_of(path: str) -> str:
    """A module's name as the kernel has it: of "kernel/lib/crc-itu-t.ko.xz", "crc_itu_t"."""
    return (strip_suffix(path) or path).rsplit("/", 1)[-1].replace("-", "_")


def depends_on(data: bytes, subject: str) -> list[str]:
    """The modules to load before this one: its `depends` and the "pre" part of its `softdep`; raise BadInputError for a damaged file."""
    names: list[str] = []
    for line in modinfo(data, subject):
        key, _, value = line.partition("=")
        if key == "depends":
            names += [name for name in value.split(",") if name]
        elif key == "softdep":
            names += _pre(value)
    return [name_of(name) for name in names]


def _pre(softdep: str) -> list[str]:
    """Of "pre: a b post: c", a and b."""
    names: list[str] = []
    taking = False
    for word in softdep.split():
        if word.endswith(":"):
            taking = word == "pre:"
        elif taking:
            names.append(word)
    return names


def without_signature(data: bytes) -> bytes:
    """A module without the signature appended to it (kernel: include/linux/module_signature.h); an odd one stays as it is."""
    if not data.endswith(_SIGNED):
        return data
    end = len(data) - len(_SIGNED)
    size = _SIGNATURE_SIZE.unpack_from(data, end - _SIGNATURE_SIZE.size)[0] + _SIGNATURE_HEADER if end >= _SIGNATURE_HEADER else end + 1
    return data[: end - size] if size <= end else data


def modinfo(data: bytes, subject: str) -> list[str]:
    """The section's "key=value" lines."""
    try:
        return [line.decode("utf-8", "replace") for line in _section(data, b".modinfo").split(b"\0") if line]
    except (struct.error, ValueError) as fault:
        raise BadInputError(subject, f"it is no intact kernel module ({fault})", "delete it and pull again") from fault


def _section(data: bytes, wanted: bytes) -> bytes:
    """A section's bytes (ELF gABI, 64-bit little-endian)."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    start = struct.unpack_from("<Q", data, 40)[0]
    size, count, names = struct.unpack_from("<HHH", data, 58)
    if size != _SECTION.size:
        raise ValueError(f"section headers of {size} bytes")
    if start + count * size > len(data) or names >= count:
        raise ValueError("its section headers lie outside the file")
    sections = [_SECTION.unpack_from(data, start + index * size) for index in range(count)]
    strings = _bytes(data, sections[names])
    for section in sections:
        if strings[section[0] :].partition(b"\0")[0] == wanted:
            return _bytes(data, section)
    raise ValueError(f"no section {wanted.decode()}")


def _bytes(data: bytes, section: tuple[int, ...]) -> bytes:
    offset, size = section[4], section[5]
    if offset + size > len(data):
        raise ValueError("a section lies outside the file")
    return data[offset : offset + size]
