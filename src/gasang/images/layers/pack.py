"""A tar stream into the store as a layer: compressed, and both of its digests known at the end."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from isal import isal_zlib

from gasang.images.content.content import NEW, Content
from gasang.images.descriptors import Blob
from gasang.images.registry.manifests import OCI_LAYER
from gasang.images.spool import out_of_space

LEVEL = 1
"""isal's: about as small as zlib's 3, at ten times its speed."""
_GZIP = 31


@dataclass(frozen=True)
class Layer:
    """A stored layer: its blob and the digest of its tar stream."""

    blob: Blob
    diff_id: str


class LayerWriter:
    """Takes a tar stream (`write`), gives a layer (`finish`). In the end or on failure, `close`."""

    def __init__(self, content: Content, hold: Callable[..., None], *, compressed: bool = True) -> None:
        self._content = content
        self._hold = hold
        self._compressor = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, _GZIP) if compressed else None
        self._inner = hashlib.sha256()
        self._outer = hashlib.sha256()
        self._size = 0
        content.prepare()
        try:
            self._descriptor, self._name = tempfile.mkstemp(dir=content.ingests, prefix=NEW)
        except OSError as fault:
            raise out_of_space(fault, content.root) from fault

    def write(self, data: bytes) -> None:
        """The next bytes. Raises OutOfSpaceError on a full disk."""
        self._inner.update(data)
        self._put(self._compressor.compress(data) if self._compressor else data)

    def _put(self, data: bytes) -> None:
        self._outer.update(data)
        self._size += len(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as fault:
            raise out_of_space(fault, self._content.root) from fault

    def finish(self) -> Layer:
        """All is written: the layer, which the lease holds."""
        if self._compressor:
            self._put(self._compressor.flush())
        blob = Blob(OCI_LAYER + ("+gzip" if self._compressor else ""), f"sha256:{self._outer.hexdigest()}", self._size)
        diff_id = f"sha256:{self._inner.hexdigest()}"
        self._hold(blob.digest, diff_id)
        try:
            os.fchmod(self._descriptor, 0o644)
            os.replace(self._name, self._content.path(blob))
        except OSError as fault:
            raise out_of_space(fault, self._content.root) from fault
        return Layer(blob, diff_id)

    def close(self) -> None:
        """Give everything back."""
        os.close(self._descriptor)
        with suppress(FileNotFoundError):
            os.unlink(self._name)


def pack_stream(content: Content, hold: Callable[..., None], pieces: Iterable[bytes]) -> Layer:
    """A layer of a tar stream's pieces."""
    writer = LayerWriter(content, hold)
    try:
        for piece in pieces:
            writer.write(piece)
        return writer.finish()
    finally:
        writer.close()
