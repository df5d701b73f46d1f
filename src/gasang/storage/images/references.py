"""Files that an image names: a backing file, an extent. Whoever made it chose the name, so it is followed only where the user lets it.

Followed are files that lie, once links are resolved, in the folder of the image that names them, and what the user named as well. A
disk that a guest has written may pretend to be an image: where the format was guessed, and the file's suffix is not that format's,
nothing beside it is followed.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from gasang.core.errors import BadInputError, PermissionDeniedError, UnsupportedError

DEPTH_MAX = 64
"""Images in a chain."""


class Trust(NamedTuple):
    """What may be followed. `chain` are the files under way, the outermost first.

    Without `links` no file is opened through a symbolic link: who else can write to the folder does not choose what is opened.
    """

    beside: bool = True
    also: tuple[Path, ...] = ()
    chain: tuple[Path, ...] = ()
    links: bool = True

    def follow(self, image: Path, name: str) -> Path:
        """The file that `image` means by `name`.

        Raises UnsupportedError for what is no path, PermissionDeniedError for one outside, BadInputError for a loop.
        """
        text = name.removeprefix("file:")
        if not text or "\0" in text or (":" in text.split("/")[0] and not image.parent.joinpath(text).exists()):
            raise UnsupportedError(f"disk {image}", f"it names {name!r}, which is no file", "make it name a file beside it")
        try:
            wanted = (image.parent / text).resolve()
            home = image.resolve().parent
        except (OSError, RuntimeError, ValueError) as error:
            raise BadInputError(f"disk {image}", f"it names {name!r}, which cannot be followed", "mend the image") from error
        if not (self.beside and wanted.parent == home) and not any(self._covers(allowed, wanted) for allowed in self.also):
            raise PermissionDeniedError(f"disk {image}", f"it names {str(wanted)!r}, which was not allowed", f"allow it: --allow {wanted}")
        return wanted

    @staticmethod
    def _covers(allowed: Path, wanted: Path) -> bool:
        resolved = allowed.resolve()
        return wanted == resolved or resolved in wanted.parents

    def below(self, image: Path) -> Trust:
        """What holds for the files that `image` names. Raises BadInputError for a loop or an endless chain."""
        here = image.resolve()
        if here in self.chain:
            raise BadInputError(f"disk {image}", "it is its own backing file, in a loop", "mend the chain")
        if len(self.chain) >= DEPTH_MAX:
            raise BadInputError(f"disk {image}", f"more than {DEPTH_MAX} images stand on one another", "convert some of them into one")
        return self._replace(chain=(*self.chain, here))
