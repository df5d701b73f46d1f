"""Pins: what a container stands on stays as long as the container does, whatever becomes of the image's names."""

from __future__ import annotations

import json
import re
import uuid
from contextlib import suppress
from pathlib import Path

from gasang.core.errors import UsageError
from gasang.images.spool import out_of_space

_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,200}")


class Pins:
    """One small file an owner: the digests of manifests it needs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def pin(self, owner: str, *manifests: str) -> None:
        """Have the owner (a machine's identifier) need these manifests and all they reach."""
        path = self._path(owner)
        fresh = path.with_name(f".new-{uuid.uuid4().hex}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(list(manifests)))
            fresh.replace(path)
        except OSError as fault:
            raise out_of_space(fault, self._folder) from fault

    def unpin(self, owner: str) -> None:
        """The owner needs nothing any more."""
        self._path(owner).unlink(missing_ok=True)

    def owners(self) -> dict[str, set[str]]:
        """Each owner's manifests."""
        found: dict[str, set[str]] = {}
        with suppress(FileNotFoundError):
            for path in self._folder.iterdir():
                with suppress(OSError, ValueError):
                    found[path.name] = {str(digest) for digest in json.loads(path.read_text())}
        return {owner: digests for owner, digests in found.items() if not owner.startswith(".")}

    def needed(self) -> set[str]:
        """Every pinned manifest."""
        return set().union(*self.owners().values())

    def _path(self, owner: str) -> Path:
        if not _OWNER.fullmatch(owner):
            raise UsageError(f"owner {owner[:80]!r}", "that is no identifier", "use letters, digits, dots and dashes")
        return self._folder / owner
