"""Names of images: `debian:trixie`, `docker.io/library/debian:12`, `name@sha256:…` (distribution reference grammar)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gasang.core.errors import UsageError

_HOST = r"(?:(?P<registry>(?:[a-zA-Z0-9-]+\.)+[a-zA-Z0-9-]+(?::[0-9]+)?|localhost(?::[0-9]+)?)/)?"
_NAME = r"(?P<name>[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)"
_TAG = r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
_REFERENCE = re.compile(_HOST + _NAME + _TAG)
LONGEST = 255


@dataclass(frozen=True)
class Reference:
    """A parsed reference. Without registry it is one of ours, made from a distribution's packages."""

    registry: str
    name: str
    tag: str
    digest: str = ""

    def __str__(self) -> str:
        """The canonical spelling."""
        host = f"{self.registry}/" if self.registry else ""
        return f"{host}{self.name}" + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """Parse a reference; a missing tag is "latest". Raises UsageError."""
    found = _REFERENCE.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        shown = "".join(sign if sign.isprintable() else "?" for sign in text[:80])
        raise UsageError(f"image {shown}", "that is no image's name", "write it like debian:trixie")
    digest = found["digest"] or ""
    tag = found["tag"] or ("" if digest else "latest")
    return Reference(found["registry"] or "", found["name"], tag, digest)
