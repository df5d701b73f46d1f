"""Sectors encrypted with AES, each with a vector made of its number: XTS (IEEE 1619) and CBC, as dm-crypt names them.

AES is the library's. A mode of the library is a call for each sector; XTS, which most disks have, is done for all sectors at once instead:
the numbers are encrypted together, the blocks are, and native code makes the tweaks of all blocks and adds them before and after.
"""

from __future__ import annotations

import ctypes
import hashlib
from typing import Protocol

from gasang.core.errors import UnsupportedError
from gasang.native import cast, load_unaligned, native, ptr, store_unaligned, u8, u64
from gasang.storage.luks.keys import damaged

_BLOCK = 16


class Sectors(Protocol):
    """A cipher over sectors of `size` bytes. Numbers count 512 bytes, whatever the size."""

    size: int

    def decrypt(self, number: int, data: bytes) -> bytes:
        """Whole sectors, the first of which has `number`."""
        ...

    def encrypt(self, number: int, data: bytes | memoryview) -> bytes:
        """Whole sectors, the first of which has `number`."""
        ...


def sectors(cipher: str, key: bytes, size: int, name: str) -> Sectors:
    """The cipher of that name. Raises UnsupportedError for any but AES in XTS or CBC mode, BadInputError for a key that does not fit."""
    algorithm, _, rest = cipher.partition("-")
    mode, _, vector = rest.partition("-")
    known = {"xts": ("plain", "plain64"), "cbc": ("plain", "plain64", "essiv:sha256")}
    if algorithm != "aes" or vector not in known.get(mode, ()):
        raise UnsupportedError(f"disk {name}", f"it is encrypted with {cipher!r}", "aes in xts or cbc mode is known here")
    half = len(key) // 2
    if len(key) not in ((32, 64) if mode == "xts" else (16, 24, 32)) or (mode == "xts" and key[:half] == key[half:]):
        raise damaged(name, "key")
    mask = 0xFFFFFFFF if vector == "plain" else (1 << 64) - 1
    return Xts(key, size, mask) if mode == "xts" else Cbc(key, size, mask, mixed=vector == "essiv:sha256")


@native
def whiten(data: ptr[u8], seeds: ptr[u64], count: u64, blocks: u64) -> None:
    """Add to each 16-byte block of `count` sectors its tweak: a sector's seed times x, once more for each block (IEEE 1619, 5.2)."""
    at: u64 = 0
    for sector in range(count):
        low: u64 = seeds[2 * sector]
        high: u64 = seeds[2 * sector + 1]
        for _ in range(blocks):
            place = cast(ptr[u64], data + at)
            store_unaligned(place, load_unaligned(place) ^ low)
            store_unaligned(place + 1, load_unaligned(place + 1) ^ high)
            carry: u64 = high >> 63
            high = (high << 1) | (low >> 63)
            low = (low << 1) ^ (carry * 0x87)
            at += 16


class Xts:
    """AES-XTS."""

    def __init__(self, key: bytes, size: int, mask: int) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        self.size = size
        self._mask = mask
        half = len(key) // 2
        # Single blocks: what makes them a mode is `whiten`.
        blocks = Cipher(algorithms.AES(key[:half]), modes.ECB())  # noqa: S305
        self._encryptor, self._decryptor = blocks.encryptor(), blocks.decryptor()
        self._seeds = Cipher(algorithms.AES(key[half:]), modes.ECB()).encryptor()  # noqa: S305

    def decrypt(self, number: int, data: bytes) -> bytes:
        """As Sectors."""
        seeds = self._seeds_of(number, len(data))
        return self._whitened(self._decryptor.update(self._whitened(data, seeds)), seeds)

    def encrypt(self, number: int, data: bytes | memoryview) -> bytes:
        """As Sectors."""
        seeds = self._seeds_of(number, len(data))
        return self._whitened(self._encryptor.update(self._whitened(data, seeds)), seeds)

    def _seeds_of(self, number: int, length: int) -> bytes:
        step = self.size // 512
        numbers = (number + index * step & self._mask for index in range(length // self.size))
        return self._seeds.update(b"".join(each.to_bytes(_BLOCK, "little") for each in numbers))

    def _whitened(self, data: bytes | memoryview, seeds: bytes) -> bytes:
        made = ctypes.create_string_buffer(bytes(data), len(data))
        held = ctypes.create_string_buffer(seeds, len(seeds))
        whiten(ctypes.addressof(made), ctypes.addressof(held), len(seeds) // _BLOCK, self.size // _BLOCK)
        return made.raw


class Cbc:
    """AES-CBC, sector by sector; `mixed` encrypts the number with the key's hash (ESSIV)."""

    def __init__(self, key: bytes, size: int, mask: int, *, mixed: bool) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        self.size = size
        self._mask = mask
        self._cipher, self._mode, self._aes = Cipher, modes.CBC, algorithms.AES(key)
        secret = algorithms.AES(hashlib.sha256(key).digest())
        self._mixer = Cipher(secret, modes.ECB()).encryptor() if mixed else None  # noqa: S305 - one block, as ESSIV is defined

    def _vector(self, number: int) -> bytes:
        numbered = (number & self._mask).to_bytes(_BLOCK, "little")
        return self._mixer.update(numbered) if self._mixer is not None else numbered

    def decrypt(self, number: int, data: bytes) -> bytes:
        """As Sectors."""
        return b"".join(
            self._cipher(self._aes, self._mode(self._vector(number + at // 512))).decryptor().update(data[at : at + self.size])
            for at in range(0, len(data), self.size)
        )

    def encrypt(self, number: int, data: bytes | memoryview) -> bytes:
        """As Sectors."""
        return b"".join(
            self._cipher(self._aes, self._mode(self._vector(number + at // 512))).encryptor().update(data[at : at + self.size])
            for at in range(0, len(data), self.size)
        )
