"""Whether what a terminal shows last is a shell's prompt, or somebody who asks for a login. Pure."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

KEPT: Final = 4096
"""Bytes of what was said last that are looked at."""
_CONTROLS: Final = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]"  # ECMA-48, 5.4: control sequences
    rb"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # 8.3.89: operating system commands (window titles)
    rb"|\x1b[ -/]*[0-Z\\^-~]|[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]"
)
_SHELL: Final = re.compile(rb"[^\r\n]{0,200}(?:[#$]|(?<![0-9])%)")  # 35% is somebody's progress
_LOGIN: Final = re.compile(rb"(?i)(?:[^\r\n]{0,200}\blogin|[^\r\n]{0,200}password[^\r\n]{0,80}):")


class Seen(Enum):
    """What is there."""

    SHELL = "a shell"
    LOGIN = "a login"
    OTHER = "something else"
    NOTHING = "nothing"


def seen(said: bytes) -> Seen:
    """What the end of all that was said is. A shell's prompt ends with #, $ or %, as those of sh, bash, ash and zsh do."""
    plain = _CONTROLS.sub(b"", said[-KEPT:]).strip(b" \r\n\t")
    if not plain:
        return Seen.NOTHING
    last = re.split(rb"[\r\n]", plain)[-1]
    if _SHELL.fullmatch(last):
        return Seen.SHELL
    return Seen.LOGIN if _LOGIN.fullmatch(last) else Seen.OTHER
