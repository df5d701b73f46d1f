"""A Packages index: what each package of an archive is called, depends on, and where its file lies (Debian's repository format).

An index has tens of thousands of paragraphs, of which a few hundred matter; each is split off at once and parsed when asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from gasang.core.errors import BadInputError
from gasang.images.deb822 import Paragraph, paragraph
from gasang.images.versions import RELATIONS, compare

_RELATION = re.compile(
    r"\s*(?P<name>[a-z0-9][a-z0-9+.-]*)(?::(?P<architecture>[a-z0-9-]+))?"
    r"\s*(?:\(\s*(?P<relation><<|<=|=|>=|>>|<|>)\s*(?P<version>[A-Za-z0-9.+:~-]+)\s*\))?\s*(?:\[[^\]]*\])?\s*(?:<[^>]*>\s*)*"
)
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~%:-]*(/[A-Za-z0-9][A-Za-z0-9._+~%:-]*)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Relation:
    """One alternative of a dependency: a package, perhaps with a bound on its version ("" where there is none)."""

    name: str
    relation: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.relation} {self.version})" if self.relation else self.name


Clause = tuple[Relation, ...]
"""Alternatives, the preferred one first; one of them must be met."""


def parse_relations(text: str, subject: str) -> list[Clause]:
    """A dependency field: clauses parted by ",", alternatives by "|"; raise BadInputError for what is no relation (Policy 7.1)."""
    return [tuple(_relation(part, subject) for part in clause.split("|")) for clause in text.split(",") if clause.strip()]


def _relation(text: str, subject: str) -> Relation:
    match = _RELATION.fullmatch(text)
    if match is None or (match["relation"] and match["relation"] not in RELATIONS):
        raise BadInputError(subject, f"its relation {text.strip()[:60]!r} is none", "pull again, or use another mirror")
    return Relation(match["name"], match["relation"] or "", match["version"] or "")


class Package:
    """One paragraph of an index. Properties raise BadInputError where a field is missing or damaged."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._text = text

    def __repr__(self) -> str:
        return f"Package({self.name!r})"

    @property
    def _subject(self) -> str:
        return f"index entry of {self.name}"

    @cached_property
    def fields(self) -> Paragraph:
        """All fields."""
        return paragraph(self._text, self._subject)

    def _field(self, name: str, pattern: re.Pattern[str]) -> str:
        value = self.fields.get(name, "")
        if not pattern.fullmatch(value):
            raise BadInputError(self._subject, f"its field {name} is missing or damaged", "pull again, or use another mirror")
        return value

    @property
    def version(self) -> str:
        """The version."""
        return self.fields.get("version", "")

    @property
    def filename(self) -> str:
        """Where its file lies, below the mirror's address; never outside."""
        return self._field("filename", _FILENAME)

    @property
    def size(self) -> int:
        """Bytes of its file."""
        return int(self._field("size", re.compile(r"[0-9]{1,12}")))

    @property
    def sha256(self) -> str:
        """The hash of its file."""
        return self._field("sha256", _SHA256)

    @property
    def installed_size(self) -> int:
        """Bytes it takes when unpacked, roughly."""
        text = self.fields.get("installed-size", "0")
        return int(text) * 1024 if text.isdecimal() and len(text) < 12 else 0

    @property
    def essential(self) -> bool:
        """Whether Debian calls it essential."""
        return self.fields.get("essential") == "yes"

    @property
    def priority(self) -> str:
        """required, important, standard, optional or extra."""
        return self.fields.get("priority", "optional")

    @cached_property
    def depends(self) -> list[Clause]:
        """What must be there: Pre-Depends and Depends."""
        return [clause for name in ("pre-depends", "depends") for clause in self.relations(name)]

    @cached_property
    def provides(self) -> list[Relation]:
        """The names it also goes by; a version makes the name count in versioned relations."""
        return [alternative for clause in self.relations("provides") for alternative in clause]

    def relations(self, field: str) -> list[Clause]:
        """A relation field, parsed."""
        return parse_relations(self.fields.get(field, ""), self._subject)


class Index:
    """The packages of one architecture, by name; of several versions of a package the newest counts."""

    def __init__(self, text: str, subject: str) -> None:
        self._packages: dict[str, Package] = {}
        self._providers: dict[str, list[str]] | None = None
        for block in text.split("\n\n"):
            if block.strip():
                self._add(block.strip("\n"), subject)

    def _add(self, block: str, subject: str) -> None:
        name = block.partition("\n")[0].removeprefix("Package:").strip() if block.startswith("Package:") else ""
        if not name:
            raise BadInputError(subject, f"its entry {block[:40]!r} names no package", "pull again, or use another mirror")
        package = Package(name, block)
        known = self._packages.get(name)
        if known is None or compare(package.version, known.version) > 0:
            self._packages[name] = package

    def __len__(self) -> int:
        return len(self._packages)

    def __iter__(self) -> Iterator[Package]:
        return iter(self._packages.values())

    def get(self, name: str) -> Package | None:
        """The package of that very name."""
        return self._packages.get(name)

    def providers(self, name: str) -> list[Package]:
        """The packages that provide `name`, in the index' order."""
        if self._providers is None:
            self._providers = self._collect_providers()
        return [self._packages[provider] for provider in self._providers.get(name, ())]

    def _collect_providers(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for package in self:
            if "\nProvides:" in package._text:
                for provided in package.provides:
                    found.setdefault(provided.name, []).append(package.name)
        return found

    def selected(self, priorities: frozenset[str]) -> list[str]:
        """Names of the essential packages and those of the given priorities, as debootstrap selects them."""
        marks = ("\nEssential: yes", *(f"\nPriority: {priority}" for priority in priorities))
        likely = (package for package in self if any(mark in package._text for mark in marks))
        return sorted(package.name for package in likely if package.essential or package.priority in priorities)
