"""A Dockerfile read into instructions (Dockerfile reference). Pure: nothing is run, no variable replaced."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Final

from gasang.core.errors import UsageError

_INSTRUCTIONS_TEXT: Final = """
ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL
MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR
"""
INSTRUCTIONS: Final = frozenset(_INSTRUCTIONS_TEXT.split())
JSON_FORMS: Final = frozenset(["ADD", "CMD", "COPY", "ENTRYPOINT", "RUN", "SHELL", "VOLUME"])
HEREDOCS: Final = frozenset(["ADD", "COPY", "RUN"])
FLAGS: Final[dict[str, frozenset[str]]] = {
    "ADD": frozenset(("chown", "chmod", "checksum")),
    "COPY": frozenset(("from", "chown", "chmod")),
    "FROM": frozenset(("platform",)),
    "HEALTHCHECK": frozenset(("interval", "timeout", "start-period", "start-interval", "retries")),
}
SIZE_MAX: Final = 1 << 20
LINES_MAX: Final = 20_000
_DIRECTIVE: Final = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.*?)\s*")
_HEREDOC: Final = re.compile(r"<<(-?)(['\"]?)([a-zA-Z0-9_.]+)\2")


@dataclass(frozen=True)
class Heredoc:
    """A text that stands in the Dockerfile after its instruction."""

    name: str
    content: str
    expand: bool


@dataclass(frozen=True)
class Instruction:
    """One instruction. `text` is what follows name and flags; `words` the JSON form's texts, None for the shell form."""

    name: str
    text: str
    line: int
    flags: dict[str, str] = field(default_factory=dict)
    words: tuple[str, ...] | None = None
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def source(self) -> str:
        """How progress shows it."""
        flags = "".join(f"--{name}={value} " for name, value in self.flags.items())
        return f"{self.name} {flags}{self.text}"

    def wrong(self, cause: str, hint: str = "correct it") -> UsageError:
        """An error that names its line."""
        return UsageError(f"Dockerfile line {self.line}", f"{self.name}: {cause}", hint)


@dataclass(frozen=True)
class Dockerfile:
    """The instructions in order, and the character that escapes."""

    instructions: tuple[Instruction, ...]
    escape: str = "\\"


def parse(content: bytes) -> Dockerfile:
    """Read a Dockerfile. Raises UsageError that names the line."""
    if len(content) > SIZE_MAX:
        raise UsageError("Dockerfile", f"it is longer than {SIZE_MAX} bytes", "shorten it")
    text = content.decode("utf-8-sig", errors="replace")
    lines = text.splitlines()
    if len(lines) > LINES_MAX:
        raise UsageError("Dockerfile", f"it has more than {LINES_MAX} lines", "shorten it")
    escape = _escape(lines)
    instructions = _read(lines, escape)
    if not instructions:
        raise UsageError("Dockerfile", "the file cannot be empty: it has no instructions", "begin it with FROM")
    return Dockerfile(tuple(instructions), escape)


def _escape(lines: list[str]) -> str:
    """The escape character that a directive at the top names."""
    for line in lines:
        found = _DIRECTIVE.fullmatch(line.strip())
        if not found:
            break
        if found[1].lower() == "escape":
            if found[2] not in ("\\", "`"):
                raise UsageError("Dockerfile", f"invalid ESCAPE {found[2][:10]!r}", "must be ` or \\")
            return found[2]
    return "\\"


def _read(lines: list[str], escape: str) -> list[Instruction]:
    result: list[Instruction] = []
    at = 0
    while at < len(lines):
        first = at
        if not lines[at].strip() or lines[at].lstrip().startswith("#"):
            at += 1
            continue
        text, at = _logical_line(lines, at, escape)
        if not text:  # only a sign that it goes on, and nothing that does
            continue
        name = text.split(None, 1)[0].upper()
        heredocs: tuple[Heredoc, ...] = ()
        if name in HEREDOCS:
            heredocs, at = _heredocs(text, lines, at, first + 1)
        result.append(instruction(text, first + 1, heredocs))
    return result


def _logical_line(lines: list[str], at: int, escape: str) -> tuple[str, int]:
    """A line with those that continue it; comments and empty lines between them do not end it."""
    ends = re.compile(re.escape(escape) + r"[ \t]*$")
    text = lines[at].strip()
    at += 1
    while ends.search(text):
        text = ends.sub("", text)
        while at < len(lines) and (not lines[at].strip() or lines[at].lstrip().startswith("#")):
            at += 1
        if at >= len(lines):
            break
        text += lines[at].rstrip()
        at += 1
    return text.strip(), at


def _heredocs(text: str, lines: list[str], at: int, line: int) -> tuple[tuple[Heredoc, ...], int]:
    found = []
    for dash, quote, name in _HEREDOC.findall(text):
        content = []
        while True:
            if at >= len(lines):
                raise UsageError(f"Dockerfile line {line}", f"the text that ends with {name} does not end", f"write {name} alone on a line")
            current = lines[at].lstrip("\t") if dash else lines[at]
            at += 1
            if current == name:
                break
            content.append(current + "\n")
        found.append(Heredoc(name, "".join(content), not quote))
    return tuple(found), at


def instruction(text: str, line: int, heredocs: tuple[Heredoc, ...] = ()) -> Instruction:
    """One logical line as an instruction. Raises UsageError."""
    name, _, rest = text.partition(" ") if " " in text.split("\t")[0] else text.partition("\t")
    name, rest = name.upper(), rest.strip()
    if name not in INSTRUCTIONS:
        raise UsageError(f"Dockerfile line {line}", f"unknown instruction: {name[:40]}", "the Dockerfile reference lists them")
    flags, rest = _flags(name, rest, line)
    if not rest and name != "HEALTHCHECK":
        raise UsageError(f"Dockerfile line {line}", f"{name} requires at least one argument", "give one")
    words = None
    if name in JSON_FORMS and rest.startswith("["):
        words = _json(rest)
    if name == "SHELL" and not words:
        raise UsageError(
            f"Dockerfile line {line}", "SHELL requires the arguments to be in JSON form", 'for example SHELL ["/bin/bash", "-c"]'
        )
    return Instruction(name, rest, line, flags, words, heredocs)


def _flags(name: str, rest: str, line: int) -> tuple[dict[str, str], str]:
    flags: dict[str, str] = {}
    while rest.startswith("--"):
        word, _, following = rest.partition(" ")
        if word == "--":
            return flags, following.strip()
        flag, equals, value = word[2:].partition("=")
        if flag not in FLAGS.get(name, ()):
            hint = (
                "BuildKit's flags are not spoken"
                if flag in ("mount", "network", "security", "link", "parents", "exclude")
                else "leave it out"
            )
            raise UsageError(f"Dockerfile line {line}", f"{name}: unknown flag: {flag[:40]}", hint)
        if not equals:
            raise UsageError(f"Dockerfile line {line}", f"{name}: missing a value on flag: {flag}", "write --FLAG=VALUE")
        flags[flag] = value
        rest = following.strip()
    return flags, rest


def _json(text: str) -> tuple[str, ...] | None:
    """The JSON form's words; what is no list of texts is the shell form (as the reference has it)."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list) and all(isinstance(entry, str) and "\0" not in entry for entry in value):
        return tuple(value)
    return None
