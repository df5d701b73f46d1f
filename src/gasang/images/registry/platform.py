"""Which processor and system an image is for, and which of an index's images suits this one (image-spec image-index.md, "platform")."""

from __future__ import annotations

import platform as host
import re
from dataclasses import dataclass
from typing import Any

from gasang.core.errors import UsageError

_MACHINES = {
    "x86_64": ("amd64", ""), "amd64": ("amd64", ""), "x86-64": ("amd64", ""), "aarch64": ("arm64", "v8"), "arm64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"), "armhf": ("arm", "v7"), "armv6l": ("arm", "v6"), "armel": ("arm", "v6"),
    "i386": ("386", ""), "i686": ("386", ""),
}  # fmt: skip
"""Names of processors that mean Go's GOARCH and variant; others are GOARCH already."""
_PARTS = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+){0,2}")


@dataclass(frozen=True)
class Platform:
    """An operating system, a processor architecture and its variant, by Go's names."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        """As on the command line: linux/arm64/v8."""
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    def document(self) -> dict[str, str]:
        """As in an index."""
        base = {"os": self.os, "architecture": self.architecture}
        return {**base, "variant": self.variant} if self.variant else base


def parse_platform(text: str) -> Platform:
    """A platform as users write it: linux/amd64, arm64, linux/arm/v7. Raises UsageError."""
    if not _PARTS.fullmatch(text):
        raise UsageError(f"platform {text[:40]!r}", "that is none", "write it like linux/amd64")
    parts = text.lower().split("/")
    if len(parts) == 1:
        parts = ["linux", parts[0]] if parts[0] not in ("linux", "windows") else [parts[0], host_platform().architecture]
    architecture, variant = _MACHINES.get(parts[1], (parts[1], ""))
    return Platform(parts[0], architecture, parts[2] if len(parts) > 2 else variant)


def host_platform() -> Platform:
    """What containers here run."""
    return Platform("linux", *_MACHINES.get(host.machine().lower(), (host.machine().lower(), "")))


def read_platform(item: object) -> Platform:
    """A platform out of an index or a configuration; whatever is missing there is empty."""
    found: dict[str, Any] = item if isinstance(item, dict) else {}
    values = [found.get(key) for key in ("os", "architecture", "variant")]
    return Platform(*(value if isinstance(value, str) else "" for value in values))


def suits(offered: Platform, wanted: Platform) -> int:
    """How well an offer suits: 0 is not at all; more is better."""
    if (offered.os, offered.architecture) != (wanted.os, wanted.architecture):
        return 0
    if offered.variant == wanted.variant:
        return 100
    if wanted.architecture == "arm":  # a processor of version 7 runs what is for 6
        return 50 + _version(offered.variant) if 0 < _version(offered.variant) < _version(wanted.variant) else 0
    return 50 if not offered.variant or not wanted.variant else 10


def _version(variant: str) -> int:
    return int(variant[1:]) if variant[:1] == "v" and variant[1:].isdigit() and len(variant) < 4 else 0
