"""Unpacked layers: one directory for each diff_id, shared by all images that have it, ready to be a lower directory of overlayfs.

A layer is unpacked under another name and gets its own when it is whole and its diff_id is right, so what has its name can be used.
Overlayfs needs the layers apart from each other, so that they can be unpacked at the same time.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from gasang.core.errors import BadInputError
from gasang.host.spread import spread_children
from gasang.images.content.locks import only_one
from gasang.images.digests.together import Digest, NewDigest
from gasang.images.layers.overlay import Form, our_form
from gasang.images.layers.unpack import Unpacker
from gasang.images.spool import out_of_space

TREE = "fs"
FACTS = "layer.json"
NEW = ".new-"
LOCK = ".lock-"
_DIFF_ID = re.compile(r"sha256:[0-9a-f]{64}")


class LayerFolders:
    """The unpacked layers of a store."""

    def __init__(self, root: Path, form: Form | None = None) -> None:
        self._root = root
        self._form = form or our_form()

    def path(self, diff_id: str) -> Path:
        """Where a layer's tree is, or will be. Raises BadInputError for what is no digest."""
        return self._folder(diff_id) / TREE

    def has(self, diff_id: str) -> bool:
        """Whether the layer is there."""
        return self._folder(diff_id).is_dir()

    def size(self, diff_id: str) -> int:
        """Bytes of content in the layer; 0 where it is not there."""
        try:
            return int(json.loads((self._folder(diff_id) / FACTS).read_text())["size"])
        except (OSError, ValueError, KeyError):
            return 0

    def unpack(self, diff_id: str, pieces: Iterable[bytes], subject: str, new_digest: NewDigest = hashlib.sha256) -> Path:
        """The layer's tree, made of its tar stream unless it is there; waits while another makes it.

        Raises BadInputError for a hostile, damaged or wrong stream, OutOfSpaceError on a full disk; nothing is left of it then.
        """
        folder = self._folder(diff_id)
        if folder.is_dir():
            return folder / TREE
        self._prepare()
        with only_one(self._root / f"{LOCK}{folder.name}"):
            if not folder.is_dir():
                self._fill(folder, diff_id, pieces, subject, new_digest())
        return folder / TREE

    def _prepare(self) -> None:
        try:
            if not self._root.is_dir():
                self._root.mkdir(parents=True, exist_ok=True)
                spread_children(self._root)
        except OSError as fault:
            raise out_of_space(fault, self._root) from fault

    def _fill(self, folder: Path, diff_id: str, pieces: Iterable[bytes], subject: str, digest: Digest) -> None:
        for left in self._root.glob(f"{NEW}{folder.name}.*"):  # of one who was killed
            shutil.rmtree(left, ignore_errors=True)
        fresh = self._root / f"{NEW}{folder.name}.{uuid.uuid4().hex}"  # the name decides the place on the disk: never the same twice
        tree = fresh / TREE
        try:
            fresh.mkdir(mode=0o755)
            tree.mkdir(mode=0o755)
            size = fill_tree(tree, diff_id, pieces, subject, self._form, digest)
            (fresh / FACTS).write_text(json.dumps({"diffId": diff_id, "size": size}))
            fresh.replace(folder)
        except OSError as fault:
            raise out_of_space(fault, self._root) from fault
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _folder(self, diff_id: str) -> Path:
        if not _DIFF_ID.fullmatch(diff_id):
            raise BadInputError(f"layer {diff_id[:80]!r}", "that is no SHA-256 digest", "pull another image")
        return self._root / diff_id.removeprefix("sha256:")


def fill_tree(tree: Path, diff_id: str, pieces: Iterable[bytes], subject: str, form: Form, digest: Digest) -> int:
    """Unpack a tar stream into an empty directory; bytes of content. `digest` is fresh.

    Raises BadInputError where the stream's digest is not `diff_id`.
    """
    unpacker = Unpacker(tree, subject, form)
    try:
        for piece in pieces:
            digest.update(piece)
            unpacker.feed(piece)
        if f"sha256:{digest.hexdigest()}" != diff_id:
            raise BadInputError(subject, "its unpacked content has another digest than the image says", "do not use it: pull it again")
        unpacker.finish()
        return unpacker.written
    finally:
        unpacker.close()

