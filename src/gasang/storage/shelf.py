"""Disks that were imported, under names: a folder each, with raw disks, as sparse files, and what machine they belonged to.

A folder is made under another name and renamed when all is in it, so what is there is whole.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gasang.core.errors import BadInputError, NotFoundError, StateError, UsageError
from gasang.core.paths import data_folder

if TYPE_CHECKING:  # a start of any image looks here, and has no time for it
    from gasang.storage.appliance.ovf import Appliance

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_DOCUMENT: Final = "machine.json"
FORMS: Final = ("raw", "qcow2")
_ABANDONED: Final = 3600.0


class Shelf:
    """The named disks in the folder `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def adding(self, name: str) -> Iterator[Path]:
        """A folder that becomes `name` if the block ends well. Raises UsageError for what is no name, StateError for one that is taken."""
        if not _NAME.fullmatch(name):
            raise UsageError(f"name {name!r}", "it has signs that names have not", "use letters, digits, dots, dashes and underscores")
        self._free(name)
        self.root.mkdir(parents=True, exist_ok=True)
        folder = self._new_folder(".new-")
        try:
            yield folder
            self._free(name)
            folder.rename(self.root / name)
        except BaseException:
            _remove(folder)
            raise

    def _new_folder(self, prefix: str) -> Path:
        from tempfile import mkdtemp  # a start of any image looks at this shelf, and has no time to load it

        return Path(mkdtemp(prefix=prefix, dir=self.root))

    def _free(self, name: str) -> None:
        if (self.root / name).exists():
            raise StateError(f"disk {name}", "there is one of that name", f"give another name, or remove it: gasang image rm {name}")

    def disk(self, text: str) -> Path | None:
        """The file of the disk NAME or NAME/NUMBER, None where none is called so."""
        name, _, number = text.partition("/")
        if not _NAME.fullmatch(name) or not (number or "0").isdecimal():
            return None
        stem = self.root / name / f"disk{int(number or '0')}"
        # Those of earlier versions are qcow2 images.
        return next((path for path in (stem.with_suffix(f".{form}") for form in FORMS) if path.is_file()), None)

    def names(self) -> list[str]:
        """What was imported, by name."""
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if _NAME.fullmatch(path.name) and (path / _DOCUMENT).is_file())

    def folder(self, name: str) -> Path:
        """The folder of a name. Raises NotFoundError."""
        if name not in self.names():
            raise NotFoundError(f"disk {name}", "there is none of that name", "see gasang image ls")
        return self.root / name

    def remove(self, name: str) -> None:
        """Forget a name and its disks; machines whose image it is have copies of their own. Raises NotFoundError."""
        folder = self.folder(name)
        going = self._new_folder(".old-")
        folder.rename(going / name)
        _remove(going)

    def sweep(self) -> None:
        """Remove what imports and removals that were killed have left behind, an hour later."""
        for path in self.root.glob(".*-*") if self.root.is_dir() else ():
            if path.stat().st_mtime < time.time() - _ABANDONED:
                _remove(path)

    def machine(self, name: str) -> tuple[Appliance, int]:
        """What machine the disks of a name belonged to, and how many they are. Raises NotFoundError, BadInputError."""
        from gasang.storage.appliance.ovf import Appliance

        try:
            found = json.loads((self.root / name / _DOCUMENT).read_text())
            cards = tuple(str(card) for card in found["cards"])
            return Appliance(str(found["name"]), int(found["cpus"]), int(found["memory"]), (), cards), int(found["disks"])
        except FileNotFoundError as error:
            raise NotFoundError(f"disk {name}", "there is none of that name", "see gasang image import --help") from error
        except (ValueError, KeyError, TypeError) as error:
            raise BadInputError(f"disk {name}", "what is known of it is damaged", "import it again") from error


def user_shelf() -> Shelf:
    """The user's."""
    return Shelf(data_folder(os.environ) / "disks")


def form_of(disk: Path) -> str:
    """The format of an imported disk, by its file's name: what is in it is a guest's."""
    return disk.suffix.removeprefix(".")


def describe(folder: Path, machine: Appliance, disks: int) -> None:
    """Note what machine the disks in a folder belong to, and how many they are."""
    told = {"name": machine.name, "cpus": machine.cpus, "memory": machine.memory, "disks": disks, "cards": list(machine.cards)}
    (folder / _DOCUMENT).write_text(json.dumps(told, indent=2))


def _remove(folder: Path) -> None:
    """As far as can be."""
    from shutil import rmtree  # as tempfile

    rmtree(folder, ignore_errors=True)
