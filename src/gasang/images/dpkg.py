"""dpkg's own records of packages that are unpacked and not yet configured (dpkg's man page, doc/ and lib/dpkg/).

    status              a paragraph a package: its control fields and "Status: install ok unpacked"
    info/NAME.*         the file list, the control archive's files; NAME is "name:arch" for packages that several architectures share
    triggers/File       which package wants to hear of changes below which path; triggers/NAME the same for named events

With these in place `dpkg --configure` goes on as if it had unpacked the packages itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gasang.core.errors import BadInputError
from gasang.images.deb import ControlFile
from gasang.images.deb822 import Paragraph, paragraph
from gasang.images.kernel import read
from gasang.storage.tree import Entry, Kind, encode, shown

FOLDER = "var/lib/dpkg"
_SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "config")
_NOT_KEPT = ("control",)
_INTERESTS = {"interest": "", "interest-await": "", "interest-noawait": "/noawait"}


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A package whose files are in the root: its control archive, and its entries as its data archive has them."""

    control: dict[str, ControlFile]
    entries: Sequence[Entry]

    @property
    def fields(self) -> Paragraph:
        """The control file's fields."""
        return paragraph(self._text, "control file")

    @property
    def _text(self) -> str:
        return self.control["control"].data.decode("utf-8", "surrogateescape")

    @property
    def name(self) -> str:
        """The package's name."""
        return self.fields["package"]

    @property
    def info_name(self) -> str:
        """What its files below info/ begin with."""
        fields = self.fields
        return f"{self.name}:{fields['architecture']}" if fields.get("multi-arch") == "same" else self.name

    def lines(self, name: str) -> list[str]:
        """The lines of a file of the control archive, none where it is missing."""
        file = self.control.get(name)
        text = file.data.decode("utf-8", "surrogateescape") if file is not None else ""
        return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]

    def status(self) -> str:
        """Its paragraph in the status file, configuration files with the hash they came with."""
        lines = [line for line in self._text.rstrip("\n").split("\n") if line.strip()]
        where = next((number for number, line in enumerate(lines) if line.lower().startswith("package:")), 0)
        return "\n".join([lines[where], "Status: install ok unpacked", *lines[:where], *lines[where + 1 :], *self._conffiles()]) + "\n"

    def _conffiles(self) -> list[str]:
        files = {encode(entry.path): entry for entry in self.entries if entry.kind is Kind.FILE}
        found: list[str] = []
        for line in self.lines("conffiles"):
            if not line.startswith("/"):
                continue  # "remove-on-upgrade PATH" concerns files of older versions
            entry = files.get(encode(line[1:]))
            if entry is None:
                raise BadInputError(f"package {self.name}", f"its configuration file {shown(line)} is missing", "delete it and pull again")
            found.append(f" {line} {hashlib.md5(read(entry), usedforsecurity=False).hexdigest()}")
        return ["Conffiles:", *found] if found else []

    def file_list(self) -> str:
        """Its info/NAME.list: every path it holds, absolute, the root as "/."."""
        return "".join(f"/{encode(entry.path).decode('utf-8', 'surrogateescape') or '.'}\n" for entry in self.entries)


def database(packages: Sequence[Unpacked]) -> Iterator[Entry]:
    """The files below var/lib/dpkg that describe the packages."""
    ordered = sorted(packages, key=lambda package: package.info_name)
    for folder in ("alternatives", "info", "parts", "triggers", "updates"):
        yield Entry(path=f"{FOLDER}/{folder}", kind=Kind.DIRECTORY, mode=0o755)
    yield _file("status", "\n".join(package.status() for package in ordered))
    yield _file("available", "")
    yield _file("info/format", "1\n")
    for package in ordered:
        yield _file(f"info/{package.info_name}.list", package.file_list())
        for name, file in package.control.items():
            if name not in _NOT_KEPT:
                mode = 0o755 if name in _SCRIPTS else 0o644
                yield Entry(path=f"{FOLDER}/info/{package.info_name}.{name}", kind=Kind.FILE, mode=mode, data=file.data)
    yield from _triggers(ordered)


def _file(name: str, text: str) -> Entry:
    return Entry(path=f"{FOLDER}/{name}", kind=Kind.FILE, data=text.encode("utf-8", "surrogateescape"))


def _triggers(packages: Iterable[Unpacked]) -> Iterator[Entry]:
    """Who is interested in what (deb-triggers(5))."""
    paths: list[str] = []
    named: dict[str, list[str]] = {}
    for package in packages:
        for line in package.lines("triggers"):
            word, _, what = line.partition(" ")
            if word not in _INTERESTS:
                continue
            who = package.info_name + _INTERESTS[word]
            if what.startswith("/"):
                paths.append(f"{what} {who}")
            else:
                named.setdefault(what.strip(), []).append(who)
    yield _file("triggers/File", "".join(f"{line}\n" for line in paths))
    yield _file("triggers/Unincorp", "")
    for name, interested in named.items():
        if "/" in name or name.startswith("."):
            raise BadInputError(f"package {interested[0]}", f"its trigger has the odd name {shown(name)}", "delete it and pull again")
        yield _file(f"triggers/{name}", "".join(f"{who}\n" for who in interested))
