"""A suite's InRelease file: the signed list of an archive's indices with their sizes and hashes (Debian's repository format)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from gasang.core.errors import BadInputError, GasangError, NotFoundError
from gasang.images.clearsign import take_apart
from gasang.images.deb822 import Paragraph, paragraph
from gasang.images.mirror import Mirror, Wanted
from gasang.images.signature import check_signature

COMPONENT: Final = "main"
LIMIT = 16 << 20
"""Bytes of an InRelease file; Debian's have a seventh of a MiB."""

_LINE = re.compile(r"([0-9a-f]{64}) +([0-9]{1,12}) +(\S+)")


FIRST_FOR: Final = {"riscv64": "trixie"}
"""Suites that brought an architecture, of those that a user may not expect to be missing: ours, where nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class Release:
    """A suite of an archive, its signature checked. `files` maps a path below the suite's folder to (size in bytes, SHA-256)."""

    suite: str
    codename: str
    version: str
    date: str
    architectures: tuple[str, ...]
    files: dict[str, tuple[int, str]]
    by_hash: bool
    other: str = ""
    """The suite's other name: the codename's if it was asked for by the suite's, and the other way round."""

    def index(self, component: str, architecture: str) -> Wanted:
        """The Packages index of a component; raise NotFoundError where the suite does not come for that architecture."""
        path = f"{component}/binary-{architecture}/Packages.xz"
        if architecture not in self.architectures or path not in self.files:
            known = ", ".join(name for name in self.architectures if name != "all")
            first = FIRST_FOR.get(architecture, self.codename)
            later = "" if first == self.codename else f"; {architecture} came with debian:{first}"
            raise NotFoundError(f"Debian {self.codename} for {architecture}", "it does not exist", f"it comes for {known}{later}")
        size, sha256 = self.files[path]
        folder = f"dists/{self.codename}/{component}/binary-{architecture}"
        return Wanted(f"{folder}/by-hash/SHA256/{sha256}" if self.by_hash else f"{folder}/Packages.xz", size, sha256)


def fetch_release(mirror: Mirror, suite: str, keyring: Path, architecture: str) -> Release:
    """The suite's release file, its signature checked before any of it is read; raise BadInputError where that fails.

    A mirror that is being brought up to date may have a new one without the index for an architecture. What it has by the suite's other
    name may still be the one before as a whole: then it is that.
    """
    release = _fetch(mirror, suite, keyring)
    if not release.other or architecture not in release.architectures or mirror.has(release.index(COMPONENT, architecture).path):
        return release
    try:
        before = _fetch(mirror, release.other, keyring)
        is_whole = before.codename == release.codename and mirror.has(before.index(COMPONENT, architecture).path)
    except GasangError:  # what is told is what the suite that was asked for lacks
        return release
    return before if is_whole else release


def _fetch(mirror: Mirror, suite: str, keyring: Path) -> Release:
    subject = f"release file of Debian {suite} at {mirror.base}"
    try:
        data = mirror.small(f"dists/{suite}/InRelease", LIMIT)
    except NotFoundError as fault:
        raise NotFoundError(f"Debian {suite}", f"{mirror.base} has no such suite", "try bookworm, trixie or sid") from fault
    signed = take_apart(data, subject)
    check_signature(signed, keyring, subject)
    return parse_release(signed.text, suite, subject)


def parse_release(text: str, suite: str, subject: str, now: datetime | None = None) -> Release:
    """The fields of a verified release file; raise BadInputError where it is another suite's or has expired (a replayed old one)."""
    fields = paragraph(text, subject)
    codename = fields.get("codename", "")
    if suite not in (codename, fields.get("suite")):
        raise BadInputError(subject, f"it is the one of {codename or 'no suite'}", "use another mirror")
    _check_expiry(fields, subject, now or datetime.now(UTC))
    return Release(
        suite=suite,
        codename=codename or suite,
        version=fields.get("version", ""),
        date=fields.get("date", ""),
        architectures=tuple(fields.get("architectures", "").split()),
        files=_files(fields, subject),
        by_hash=fields.get("acquire-by-hash") == "yes",
        other=next((name for name in (codename, fields.get("suite", "")) if name not in ("", suite)), ""),
    )


def _check_expiry(fields: Paragraph, subject: str, now: datetime) -> None:
    text = fields.get("valid-until")
    if not text:
        return
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError) as fault:
        raise BadInputError(subject, f"its date {text[:40]!r} is none", "use another mirror") from fault
    if until.replace(tzinfo=until.tzinfo or UTC) < now:
        raise BadInputError(subject, f"it has expired on {text}", "use another mirror, or check this host's clock")


def _files(fields: Paragraph, subject: str) -> dict[str, tuple[int, str]]:
    files: dict[str, tuple[int, str]] = {}
    for line in fields.get("sha256", "").split("\n"):
        match = _LINE.fullmatch(line.strip())
        if match is not None:
            files[match[3]] = (int(match[2]), match[1])
        elif line.strip():
            raise BadInputError(subject, f"its line {line.strip()[:60]!r} is no hash, size and path", "use another mirror")
    if not files:
        raise BadInputError(subject, "it lists no SHA-256 hashes", "use another mirror")
    return files
