"""What a boot loader's configuration comes to: entries, of which one is the default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CONFIGURATION_MOST: Final = 4 << 20
"""Bytes of a configuration file."""
ENTRIES_MOST: Final = 512


@dataclass(frozen=True, slots=True)
class Entry:
    """A kernel to start: paths of it and of its initial RAM disks, in the file system `uuid` ("" for the configuration's own)."""

    title: str
    kernel: str
    initrds: tuple[str, ...] = ()
    options: str = ""
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class Menu:
    """The entries of a configuration, the default first. With `more` those of the Boot Loader Specification come before them."""

    entries: tuple[Entry, ...] = ()
    more: bool = False
    variables: tuple[tuple[str, str], ...] = ()
    """What a BLS entry's options may refer to."""
    wanted: str = ""
    """What the default is called, where it is not among the entries."""
