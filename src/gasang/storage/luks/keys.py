"""How LUKS gets from a passphrase to a disk's key: slow hashes, and key material spread over stripes.

Written after "LUKS1 On-Disk Format Specification" 1.2.3 and "LUKS2 On-Disk Format Specification" 1.1.1. Ciphers and hashes are
the library's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from gasang.core.errors import BadInputError, UnsupportedError

HASHES: Final = ("sha1", "sha256", "sha384", "sha512", "ripemd160")
ITERATIONS_MAX: Final = 1 << 26
ARGON_MEMORY_MAX: Final = 4 << 20
"""KiB: cryptsetup's own limit."""
ARGON_TIME_MAX: Final = 1 << 8
KEY_BYTES_MAX: Final = 512
STRIPES_MAX: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Kdf:
    """How a passphrase becomes a key: PBKDF2 with a hash, or Argon2 with `memory` KiB, `rounds` passes and `lanes`."""

    kind: str
    salt: bytes
    rounds: int
    hash: str = ""
    memory: int = 0
    lanes: int = 0


@dataclass(frozen=True, slots=True)
class Slot:
    """A key slot: where its material lies, how that is encrypted and spread, and how long the disk's key is in bytes."""

    kdf: Kdf
    offset: int
    key: int
    stripes: int
    hash: str
    cipher: str
    cipher_key: int


@dataclass(frozen=True, slots=True)
class Volume:
    """What both versions tell: the slots, what proves a key, and where and how the disk is encrypted. `length` 0: up to the end."""

    slots: tuple[Slot, ...]
    proof: Kdf
    digest: bytes
    offset: int
    length: int
    cipher: str
    sector: int
    tweak: int
    version: int


def damaged(name: str, what: str) -> BadInputError:
    """The error for a header that makes no sense."""
    return BadInputError(f"disk {name}", f"its LUKS {what} is damaged", "restore the header from a copy")


def derive(kdf: Kdf, secret: bytes, length: int, name: str) -> bytes:
    """A key of `length` bytes. Raises UnsupportedError for a way that is not known, BadInputError for work without end."""
    if not 0 < length <= KEY_BYTES_MAX or kdf.rounds <= 0 or not 8 <= len(kdf.salt) <= 256:
        raise damaged(name, "key slot")
    if kdf.kind == "pbkdf2":
        if kdf.rounds > ITERATIONS_MAX:
            raise BadInputError(f"disk {name}", f"a key would take {kdf.rounds} rounds", "add a key slot that takes less")
        return hashlib.pbkdf2_hmac(hash_named(kdf.hash, name), secret, kdf.salt, kdf.rounds, length)
    if kdf.kind not in ("argon2i", "argon2id"):
        raise UnsupportedError(f"disk {name}", f"its keys are made with {kdf.kind!r}", "add a key slot with pbkdf2 or argon2id")
    if not 8 * kdf.lanes <= kdf.memory <= ARGON_MEMORY_MAX or kdf.rounds > ARGON_TIME_MAX or not 0 < kdf.lanes <= 64:
        raise BadInputError(f"disk {name}", "a key would take more memory or time than is allowed", "add a key slot that takes less")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf import argon2

    try:
        kind = argon2.Argon2id if kdf.kind == "argon2id" else argon2.Argon2i  # the second is not in every version
        return kind(salt=kdf.salt, length=length, iterations=kdf.rounds, lanes=kdf.lanes, memory_cost=kdf.memory).derive(secret)
    except (UnsupportedAlgorithm, AttributeError) as error:
        raise UnsupportedError(f"disk {name}", f"the cryptography library here has no {kdf.kind}", "add a key slot with pbkdf2") from error


def hash_named(hash_: str, name: str) -> str:
    """A hash's name that is known here. Raises UnsupportedError."""
    if hash_ not in HASHES or hash_ not in hashlib.algorithms_available:
        raise UnsupportedError(f"disk {name}", f"its keys are hashed with {hash_!r}", "convert it with cryptsetup")
    return hash_


def merged(material: bytes, key: int, stripes: int, hash_: str, name: str) -> bytes:
    """The key that `stripes` pieces hold (LUKS1, section 2.4, "AFmerge")."""
    held = bytes(key)
    for number in range(stripes):
        held = _xor(held, material[number * key : (number + 1) * key])
        if number < stripes - 1:
            held = _diffused(held, hash_named(hash_, name))
    return held


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "little") ^ int.from_bytes(other, "little")).to_bytes(len(one), "little")


def _diffused(data: bytes, hash_: str) -> bytes:
    size = hashlib.new(hash_, usedforsecurity=False).digest_size
    return b"".join(
        hashlib.new(hash_, index.to_bytes(4, "big") + data[at : at + size], usedforsecurity=False).digest()[: len(data) - at]
        for index, at in enumerate(range(0, len(data), size))
    )
