"""The headers of LUKS: version 1's table, version 2's two copies of a JSON text with a checksum. Pure: bytes to a Volume.

Everything a header says is bounded before it is used: lengths, offsets, numbers of slots and of rounds.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import struct
from collections.abc import Callable
from typing import Any, Final

from gasang.core.errors import BadInputError, UnsupportedError
from gasang.storage.luks.keys import HASHES, KEY_BYTES_MAX, STRIPES_MAX, Kdf, Slot, Volume, damaged

MAGIC: Final = b"LUKS\xba\xbe"
SECOND: Final = b"SKUL\xba\xbe"
_ONE: Final = struct.Struct(">6sH32s32s32sII20s32sI40s")
_SLOT: Final = struct.Struct(">II32sII")
_ACTIVE: Final = 0x00AC71F3
_TWO: Final = struct.Struct(">6sHQQ48s32s64s40s48sQ184x64s")
SIZES: Final = tuple(1 << bits for bits in range(14, 23))
"""What version 2's header may have, in bytes (section 2.1)."""

Read = Callable[[int, int], bytes]
"""Bytes at an offset, so many; zeroes behind the end."""


def parse(read: Read, name: str) -> Volume:
    """The header that `read` gives. Raises BadInputError for a damaged one, UnsupportedError for what is not known."""
    head = read(0, 4096)
    version = int.from_bytes(head[6:8], "big")
    if head.startswith(MAGIC) and version == 1:
        return _one(head, name)
    if head.startswith(MAGIC) and version not in (1, 2):
        raise UnsupportedError(f"disk {name}", f"it is LUKS version {version}", "versions 1 and 2 are known here")
    found = [made for place in (0, *SIZES) if (made := _copy(read, place)) is not None]
    if not found:
        if head.startswith(MAGIC):
            raise damaged(name, "header")
        raise BadInputError(f"disk {name}", "it is not encrypted with LUKS", "leave the key out")
    _, text = max(found, key=lambda each: each[0])
    return _two(text, name)


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("ascii", "replace")


def _one(head: bytes, name: str) -> Volume:
    (_, _, cipher, mode, hash_, payload, key, digest, salt, rounds, _) = _ONE.unpack_from(head)
    if not 0 < key <= KEY_BYTES_MAX:
        raise damaged(name, "header")
    slots = []
    how, hashed = f"{_text(cipher)}-{_text(mode)}", _text(hash_)
    for number in range(8):
        active, turns, slot_salt, place, stripes = _SLOT.unpack_from(head, _ONE.size + number * _SLOT.size)
        if active == _ACTIVE:
            if not 0 < stripes <= STRIPES_MAX or not place:
                raise damaged(name, "key slot")
            slots.append(Slot(Kdf("pbkdf2", slot_salt, turns, hashed), place * 512, key, stripes, hashed, how, key))
    return Volume(tuple(slots), Kdf("pbkdf2", salt, rounds, hashed), digest, payload * 512, 0, how, 512, 0, 1)


def _copy(read: Read, place: int) -> tuple[int, bytes] | None:
    """The number and the text of a copy of version 2's header, None where there is no sound one."""
    head = read(place, 4096)
    (magic, version, size, sequence, _, algorithm, _, _, _, where, checksum) = _TWO.unpack_from(head)
    if magic != (SECOND if place else MAGIC) or version != 2 or size not in SIZES or where != place:
        return None
    hash_ = _text(algorithm)
    if hash_ not in HASHES or hash_ not in hashlib.algorithms_available:
        return None
    whole = bytearray(read(place, size))
    at = _TWO.size - 64
    whole[at : at + 64] = bytes(64)
    made = hashlib.new(hash_, whole).digest()
    return (sequence, bytes(whole[4096:])) if made == checksum[: len(made)] else None


def _two(text: bytes, name: str) -> Volume:
    try:
        found = json.loads(text.split(b"\0")[0])
        needed = found.get("config", {}).get("requirements", {}).get("mandatory", [])
        if needed:
            raise UnsupportedError(f"disk {name}", f"it needs {', '.join(map(str, needed))[:80]}", "finish that with cryptsetup")
        crypted = {key: each for key, each in found["segments"].items() if each["type"] == "crypt"}
        if len(crypted) != 1 or len(found["segments"]) != 1 or next(iter(crypted.values())).get("integrity"):
            raise UnsupportedError(f"disk {name}", "it is not simply encrypted in one segment", "convert it with cryptsetup")
        ((number, segment),) = crypted.items()
        digest = next(each for each in found["digests"].values() if number in each["segments"])
        slots = [_slot(each) for key, each in sorted(found["keyslots"].items()) if key in digest["keyslots"] and each["type"] == "luks2"]
        proof = Kdf(str(digest["type"]), _decoded(digest["salt"]), int(digest["iterations"]), str(digest["hash"]))
        length = 0 if segment["size"] == "dynamic" else int(segment["size"])
        sector = int(segment["sector_size"])
        volume = Volume(
            tuple(slots), proof, _decoded(digest["digest"]), int(segment["offset"]), length, str(segment["encryption"]), sector,
            int(segment["iv_tweak"]), 2,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError, binascii.Error) as error:
        raise damaged(name, "header") from error
    if sector not in (512, 1024, 2048, 4096) or volume.offset < 0 or length < 0 or length % sector or volume.tweak < 0:
        raise damaged(name, "header")
    return volume


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _slot(each: dict[str, Any]) -> Slot:
    kdf, area, spread = each["kdf"], each["area"], each["af"]
    if kdf["type"] == "pbkdf2":
        made = Kdf("pbkdf2", _decoded(kdf["salt"]), int(kdf["iterations"]), str(kdf["hash"]))
    else:
        made = Kdf(str(kdf["type"]), _decoded(kdf["salt"]), int(kdf["time"]), memory=int(kdf["memory"]), lanes=int(kdf["cpus"]))
    stripes, key, offset, cipher_key = int(spread["stripes"]), int(each["key_size"]), int(area["offset"]), int(area["key_size"])
    if spread["type"] != "luks1" or not 0 < stripes <= STRIPES_MAX or not 0 < key <= KEY_BYTES_MAX or offset <= 0:
        raise ValueError
    return Slot(made, offset, key, stripes, str(spread["hash"]), str(area["encryption"]), cipher_key)
