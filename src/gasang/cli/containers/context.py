"""A build context as an archive: a folder without what its .dockerignore leaves out."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gasang.cli.containers.archives import as_roots, made
from gasang.core.errors import NotFoundError, UsageError
from gasang.daemon.build.ignore import Ignore

IGNORE: Final = ".dockerignore"
OUTSIDE: Final = ".Dockerfile.outside"
"""What a Dockerfile outside the context is called in it."""


class BuildContext:
    """The folder of a build and its Dockerfile (a path from here, or None for the folder's own)."""

    def __init__(self, folder: str, dockerfile: str | None) -> None:
        """Raise NotFoundError, UsageError where one of them is not there."""
        self._folder = Path(folder)
        if not self._folder.is_dir():
            raise NotFoundError(f"context {folder}", "there is no such folder", "name the folder that the Dockerfile is about")
        self._dockerfile = Path(dockerfile) if dockerfile else self._folder / "Dockerfile"
        if not self._dockerfile.is_file():
            raise NotFoundError(f"Dockerfile {self._dockerfile}", "there is no such file", "name it with -f")
        inside = os.path.relpath(self._dockerfile.resolve(), self._folder.resolve())
        self.name = OUTSIDE if inside.startswith("..") else inside

    def pieces(self) -> Iterator[bytes]:
        """The archive. Raises UsageError for a damaged .dockerignore, OSError."""
        ignored = self._folder / IGNORE
        rules = Ignore(ignored.read_text(errors="replace") if ignored.is_file() else "")
        return made(lambda archive: self._fill(archive, rules))

    def _fill(self, archive: tarfile.TarFile, rules: Ignore) -> None:
        for parent, folders, files in os.walk(self._folder):
            folders.sort()
            inside = os.path.relpath(parent, self._folder)
            for name in sorted([*folders, *files]):
                path = os.path.normpath(os.path.join(inside, name))
                if path in (self.name, IGNORE) or not rules.leaves_out(path):
                    archive.add(os.path.join(parent, name), path, recursive=False, filter=as_roots)
        if self.name == OUTSIDE:
            archive.add(self._dockerfile, OUTSIDE, recursive=False, filter=as_roots)


def check_tag(tag: str, subject: str) -> str:
    """A name for an image. Raises UsageError."""
    from gasang.images.reference import parse_reference

    if parse_reference(tag).digest:
        raise UsageError(f"{subject} {tag!r}", "a name with a digest cannot be given", "leave the digest out")
    return tag
