"""What lies in a LUKS container, as a file for images to lie in: decrypted as it is read, encrypted as it is written.

The header and the key slots are only read. Not locked: one thread at a time.
"""

from __future__ import annotations

import errno
import hmac
from collections.abc import Iterator

from gasang.core.errors import PermissionDeniedError, UnsupportedError
from gasang.storage.bounds import check_range
from gasang.storage.images.store import Store
from gasang.storage.luks.headers import parse
from gasang.storage.luks.keys import Slot, Volume, damaged, derive, merged
from gasang.storage.luks.sectors import Sectors, sectors


class LuksStore:
    """The open content of a container; it owns the store below."""

    def __init__(self, below: Store, volume: Volume, cipher: Sectors, size: int) -> None:
        self._below = below
        self._volume = volume
        self._sectors = cipher
        self._size = size
        self.name = below.name
        self.read_only = below.read_only

    def size(self) -> int:
        """Bytes of the disk."""
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes; zeroes behind the end."""
        have = max(0, min(length, self._size - offset))
        if not have:
            return bytes(length)
        begin, end = self._whole(offset, have)
        data = self._sectors.decrypt(self._number(begin), self._below.read(self._volume.offset + begin, end - begin))
        return data[offset - begin : offset - begin + have].ljust(length, b"\0")

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Store all of `data`. Raises OSError behind the end."""
        check_range(self._size, offset, len(data))
        if not len(data):
            return
        begin, end = self._whole(offset, len(data))
        if (begin, end) != (offset, offset + len(data)):
            grain = self._sectors.size
            head = self.read(begin, offset - begin) if offset > begin else b""
            tail = self.read(end - grain, grain)[grain - (end - offset - len(data)) :] if end > offset + len(data) else b""
            data = b"".join((head, data, tail))
        self._below.write(self._volume.offset + begin, self._sectors.encrypt(self._number(begin), memoryview(data)))

    def _whole(self, offset: int, length: int) -> tuple[int, int]:
        grain = self._sectors.size
        return offset // grain * grain, -(-(offset + length) // grain) * grain

    def _number(self, offset: int) -> int:
        return offset // 512 + self._volume.tweak

    def truncate(self, size: int) -> None:
        """The container keeps its size. Raises OSError."""
        if size != self._size:
            raise OSError(errno.EOPNOTSUPP, f"{self.name}: an encrypted disk does not change its size")

    def punch(self, offset: int, length: int) -> bool:
        """A hole would not read as zeroes."""
        return False

    def data(self) -> Iterator[tuple[int, int]]:
        """All of it: what was never written reads as noise."""
        yield 0, self._size

    def flush(self) -> None:
        """Return once all that was written is on stable storage."""
        self._below.flush()

    def close(self) -> None:
        """Close the container."""
        self._below.close()


def unlock(store: Store, passphrase: bytes, header: Store | None = None) -> LuksStore:
    """What lies in `store`, which is closed on an error; its `header` may lie elsewhere (cryptsetup's --header), and stays open.

    Raises BadInputError for what is no LUKS container or a damaged one, UnsupportedError for ciphers that are not known,
    PermissionDeniedError for a passphrase that opens no slot.
    """
    try:
        told = header or store
        volume = parse(told.read, told.name)
        size = volume.length or store.size() - volume.offset
        size -= size % volume.sector
        if size <= 0 or volume.offset + size > store.size():
            raise damaged(store.name, "header")
        key = _key(told, volume, passphrase)
        return LuksStore(store, volume, sectors(volume.cipher, key, volume.sector, store.name), size)
    except BaseException:
        store.close()
        raise


def _key(store: Store, volume: Volume, passphrase: bytes) -> bytes:
    refused: UnsupportedError | None = None
    for slot in volume.slots:
        try:
            key = _tried(store, slot, passphrase)
            proof = derive(volume.proof, key, len(volume.digest), store.name)
        except UnsupportedError as error:
            refused = error
            continue
        if hmac.compare_digest(proof, volume.digest):
            return key
    if refused is not None:
        raise refused
    raise PermissionDeniedError(f"disk {store.name}", "the passphrase opens none of its key slots", "check the file of the key")


def _tried(store: Store, slot: Slot, passphrase: bytes) -> bytes:
    """The key that a slot holds if the passphrase is its."""
    length = -(-slot.key * slot.stripes // 512) * 512
    if slot.offset + length > store.size():
        raise damaged(store.name, "key slot")
    cipher = sectors(slot.cipher, derive(slot.kdf, passphrase, slot.cipher_key, store.name), 512, store.name)
    return merged(cipher.decrypt(0, store.read(slot.offset, length)), slot.key, slot.stripes, slot.hash, store.name)
