"""The values of options as people write them, checked here where a sentence about the option can be said."""

from __future__ import annotations

import os
from typing import Any, Final

from gasang.cli.options import plain_text
from gasang.core.errors import UnsupportedError, UsageError

_CPU: Final = 1_000_000_000
_CPU_MOST: Final = 1 << 16


def any_text(text: str, subject: str) -> str:
    """A text that may be empty; raise UsageError if it has a NUL."""
    return plain_text(text, subject) if text else ""


def variable(text: str, subject: str) -> str:
    """``NAME=VALUE`` as it stands, or ``NAME`` for a variable to be taken from the host. Raises UsageError."""
    name = plain_text(text, subject).partition("=")[0]
    if not name or any(sign.isspace() for sign in name):
        raise UsageError(f"{subject} {text!r}", "it names no variable", f"write {subject} NAME=VALUE")
    return text


def keys(text: str, subject: str) -> str:
    """Keys such as ``ctrl-p,ctrl-q`` as they stand. Raises UsageError for those that a terminal has not."""
    from gasang.daemon.containers.streams import detach_keys

    try:
        detach_keys(plain_text(text, subject))
    except UsageError as error:
        raise UsageError(subject, error.cause, error.hint) from error
    return text


def whole_number(text: str, subject: str) -> int:
    """A number, 0 or more. Raises UsageError."""
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise UsageError(subject, f"{text!r} is no number", "write digits only")
    return int(text)


def pair(text: str, subject: str) -> tuple[str, str]:
    """``NAME=VALUE``; NAME alone has an empty value. Raises UsageError."""
    name, _, rest = plain_text(text, subject).partition("=")
    if not name:
        raise UsageError(f"{subject} {text!r}", "it has no name", f"write {subject} NAME=VALUE")
    return name, rest


def processors(text: str, subject: str) -> int:
    """A share of the processors, such as 1.5, in billionths of one. Raises UsageError."""
    whole, _, fraction = text.partition(".")
    right = all(not part or (part.isascii() and part.isdecimal()) for part in (whole, fraction)) and len(whole) < 6 and len(fraction) < 10
    share = int(f"{whole or 0}{fraction:0<9}") if right and (whole or fraction) else 0
    if not 0 < share <= _CPU_MOST * _CPU:
        raise UsageError(subject, f"{text!r} is no number of processors", "write a number such as 2 or 0.5")
    return share


def size(text: str, subject: str) -> int:
    """Bytes, as in 512M. Raises UsageError."""
    from gasang.core.units import parse_size

    return parse_size(text, subject)


def restart_policy(text: str, subject: str) -> dict[str, Any]:
    """``no``, ``always``, ``unless-stopped`` or ``on-failure[:N]``. Raises UsageError."""
    name, colon, count = text.partition(":")
    if name not in ("no", "always", "unless-stopped", "on-failure") or (colon and name != "on-failure"):
        raise UsageError(subject, f"there is no policy {text!r}", "choose one of no, always, unless-stopped, on-failure, on-failure:N")
    return {"Name": name, "MaximumRetryCount": whole_number(count, subject) if colon else 0}


def bind(text: str, subject: str) -> str:
    """``SOURCE:TARGET[:MODE]`` or ``TARGET``; a SOURCE that begins with a dot is a path from here. Raises UsageError."""
    parts = plain_text(text, subject).split(":")
    if len(parts) > 3 or not all(parts):
        raise UsageError(f"{subject} {text!r}", "it is not [SOURCE:]TARGET[:MODE]", f"write it as in {subject} ./data:/data:ro")
    if len(parts) > 1 and (parts[0] in (".", "..") or parts[0].startswith(("./", "../"))):
        parts[0] = os.path.abspath(parts[0])
    return ":".join(parts)


def target_of_tmpfs(text: str, subject: str) -> tuple[str, str]:
    """``TARGET[:OPTIONS]``. Raises UsageError."""
    target, _, options = plain_text(text, subject).partition(":")
    return target, options


def device(text: str, subject: str) -> dict[str, str]:
    """``PATH[:TARGET[:rwm]]``. Raises UsageError."""
    parts = plain_text(text, subject).split(":")
    if len(parts) > 3 or not parts[0].startswith("/"):
        raise UsageError(f"{subject} {text!r}", "it is not PATH[:TARGET[:rwm]]", f"write it as in {subject} /dev/fuse")
    path = parts[0]
    return {
        "PathOnHost": path,
        "PathInContainer": parts[1] if len(parts) > 1 else path,
        "CgroupPermissions": parts[2] if len(parts) > 2 else "rwm",
    }


def security(text: str, subject: str) -> str:
    """An option as it stands; of ``seccomp=FILE`` the file's content, which is what the daemon takes. Raises UsageError, OSError."""
    name, _, profile = plain_text(text, subject).partition("=")
    if name != "seccomp" or profile in ("unconfined", "builtin"):
        return text
    with open(profile, encoding="utf-8") as file:
        return f"seccomp={file.read()}"


def no_gpu(text: str, subject: str) -> str:
    """Raises UnsupportedError whatever is asked for."""
    raise UnsupportedError(subject, "GPUs are not passed on to containers", "give it the device nodes it needs, as in --device /dev/dri")
