"""Names of images: `debian:trixie`, `docker.io/library/debian:12`, `localhost:5000/x@sha256:…` (distribution reference grammar)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from gasang.core.errors import UsageError

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEX = re.compile(r"[0-9a-f]{64}")
LONGEST = 255
"""Characters of registry and name."""
DOCKER_HUB = "docker.io"
_OTHER_HUBS = ("index.docker.io", "registry-1.docker.io")
OFFICIAL = "library/"


@dataclass(frozen=True)
class Reference:
    """A parsed reference. Without registry it is one of ours, made from a distribution's packages, or one of Docker Hub (`qualified`)."""

    registry: str
    name: str
    tag: str
    digest: str = ""

    def __str__(self) -> str:
        """The canonical spelling."""
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def repository(self) -> str:
        """Registry and name."""
        return f"{self.registry}/{self.name}" if self.registry else self.name

    def qualified(self) -> Reference:
        """With the registry that Docker means: `debian` is `docker.io/library/debian`."""
        registry = DOCKER_HUB if self.registry in ("", *_OTHER_HUBS) else self.registry
        official = registry == DOCKER_HUB and "/" not in self.name
        return replace(self, registry=registry, name=OFFICIAL + self.name if official else self.name)

    def familiar(self) -> Reference:
        """As short as Docker shows it: the opposite of `qualified`."""
        if self.registry != DOCKER_HUB:
            return self
        short = self.name.removeprefix(OFFICIAL)
        return replace(self, registry="", name=self.name if "/" in short or _is_registry(short) else short)

    def at(self, *, tag: str = "", digest: str = "") -> Reference:
        """The same repository at another tag or digest."""
        return Reference(self.registry, self.name, tag, digest)


def parse_reference(text: str) -> Reference:
    """Parse a reference; a missing tag is "latest". Raises UsageError."""
    rest, _, digest = text.partition("@")
    registry, name = _split_registry(rest)
    name, colon, tag = name.partition(":")
    right = (
        _NAME.fullmatch(name) is not None
        and not _HEX.fullmatch(rest)
        and len(registry) + len(name) < LONGEST
        and (not registry or REGISTRY.fullmatch(registry) is not None)
        and (_TAG.fullmatch(tag) is not None if colon else True)
        and (_DIGEST.fullmatch(digest) is not None if "@" in text else True)
    )
    if not right:
        shown = "".join(sign if sign.isprintable() else "?" for sign in text[:80])
        raise UsageError(f"image {shown}", "that is no image's name", "write it like debian:trixie")
    return Reference(registry, name, tag or ("" if digest else "latest"), digest)


def _split_registry(text: str) -> tuple[str, str]:
    """(registry, rest): the first component is a registry if it looks like a host."""
    first, slash, rest = text.partition("/")
    return (first, rest) if slash and _is_registry(first) else ("", text)


def _is_registry(component: str) -> bool:
    return "." in component or ":" in component or component == "localhost" or component != component.lower()


def is_tag(text: str) -> bool:
    """Whether that may be a tag."""
    return _TAG.fullmatch(text) is not None


def split_registry(text: str) -> tuple[str, str]:
    """(registry, rest) of what begins as an image's name does; the registry is "" where none is named."""
    return _split_registry(text)
