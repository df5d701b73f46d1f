"""Blobs on their way in: a file that grows, is hashed while it grows, can be read while it grows, and becomes a blob when it is right.

It is named by the digest it shall have, so that what an interrupted transfer left is gone on with. Its lock is its writer's.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from gasang.core.errors import BadInputError
from gasang.images.content.locks import claim
from gasang.images.descriptors import Blob
from gasang.images.digests.together import NewDigest
from gasang.images.spool import out_of_space

READ = 1 << 19
"""Bytes read at once while following."""


class GivenUp(Exception):
    """The writer of an ingest has failed, and tells why elsewhere."""


class Ingest:
    """A growing blob. One thread writes; others may `follow` it."""

    def __init__(self, path: Path, blob: Blob, descriptor: int, new_digest: NewDigest = hashlib.sha256) -> None:
        self.blob = blob
        self._path = path
        self._descriptor = descriptor
        self._new_digest = new_digest
        self._hash = new_digest()
        self._changed = threading.Condition()
        self._failed = False
        self._complete = False
        self.have = 0

    def adopt(self) -> int:
        """Take what an interrupted transfer left into account; how much that is."""
        with self._writing():
            size = os.fstat(self._descriptor).st_size
            if size > self.blob.size:
                os.ftruncate(self._descriptor, 0)
                size = 0
            while self.have < size:
                data = os.pread(self._descriptor, 1 << 20, self.have)
                if not data:
                    break
                self._hash.update(data)
                self._advance(len(data))
        return self.have

    def write(self, data: bytes) -> None:
        """The next bytes. Raises BadInputError for more than there should be, OutOfSpaceError on a full disk."""
        if self.have + len(data) > self.blob.size:
            raise self._wrong("more comes than its descriptor says")
        self._hash.update(data)
        with self._writing():
            view = memoryview(data)
            while view:
                done = os.pwrite(self._descriptor, view, self.have + len(data) - len(view))
                view = view[done:]
        self._advance(len(data))

    def restart(self) -> None:
        """Forget what is there: a sender will begin anew. Only possible before anybody follows what would change."""
        with self._writing():
            os.ftruncate(self._descriptor, 0)
        self._hash = self._new_digest()
        self.have = 0

    def _advance(self, count: int) -> None:
        with self._changed:
            self.have += count
            self._changed.notify_all()

    def finish(self, target: Path) -> None:
        """All has come: make it a blob. Raises BadInputError, and forgets it, where it is not what it should be."""
        if self.have != self.blob.size or f"sha256:{self._hash.hexdigest()}" != self.blob.digest:
            self._path.unlink(missing_ok=True)
            raise self._wrong("its content has another digest")
        with self._writing():
            os.fchmod(self._descriptor, 0o644)
            os.replace(self._path, target)
        with self._changed:
            self._complete = True
            self._changed.notify_all()

    def fail(self) -> None:
        """No more will come: those who follow are told by GivenUp."""
        with self._changed:
            self._failed = True
            self._changed.notify_all()

    def discard(self) -> None:
        """What is there is of no use."""
        self._path.unlink(missing_ok=True)

    def follow(self) -> Follower:
        """The content as it comes, also beyond the block."""
        return Follower(self, os.dup(self._descriptor))

    def beyond(self, at: int) -> int:
        """Wait until there is more than `at` bytes: how many there are, 0 if no more come."""
        with self._changed:
            while self.have <= at and not self._complete and not self._failed:
                self._changed.wait()
            if self._failed:
                raise GivenUp
            return self.have if self.have > at else 0

    def _wrong(self, cause: str) -> BadInputError:
        return BadInputError(f"blob {self.blob.digest}", cause, "pull it again")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as fault:
            raise out_of_space(fault, self._path.parent) from fault


class Follower:
    """Reads an ingest as it grows, piece by piece. Ends only after `finish`; raises GivenUp after `fail`. To be closed."""

    def __init__(self, ingest: Ingest, descriptor: int) -> None:
        self._ingest = ingest
        self._descriptor = descriptor
        self._at = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        there = self._ingest.beyond(self._at)
        if not there:
            raise StopIteration
        data = os.pread(self._descriptor, min(READ, there - self._at), self._at)
        self._at += len(data)
        return data

    def close(self) -> None:
        """Nothing more is read."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def ingesting(folder: Path, blob: Blob, new_digest: NewDigest = hashlib.sha256) -> Iterator[Ingest]:
    """The blob's ingest for the block; waits while another process or thread has it."""
    path = folder / blob.digest.removeprefix("sha256:")
    descriptor = claim(path)
    try:
        yield Ingest(path, blob, descriptor, new_digest)
    finally:
        if os.fstat(descriptor).st_size == 0 and os.fstat(descriptor).st_nlink:
            path.unlink(missing_ok=True)
        os.close(descriptor)

