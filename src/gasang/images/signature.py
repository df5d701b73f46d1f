"""Checking OpenPGP signatures with a program the host has: gpgv (GnuPG) or sqv (Sequoia), against Debian's keyring."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from gasang.core.errors import BadInputError, NotFoundError, UnsupportedError
from gasang.images.clearsign import Signed
from gasang.images.spool import out_of_space

KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
)
TIMEOUT = 60.0
_GET = "install the package debian-archive-keyring, or take that file out of it from https://deb.debian.org/debian/pool/main/d/debian-archive-keyring/"
_GOOD = re.compile(rb"^\[GNUPG:\] GOODSIG ", re.MULTILINE)
_BAD = re.compile(rb"^\[GNUPG:\] (BADSIG|REVKEYSIG|EXPSIG) ", re.MULTILINE)


def debian_keyring(candidates: tuple[Path, ...] = KEYRINGS) -> Path:
    """The host's copy of the keys Debian signs with; raise NotFoundError that tells how to get it."""
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise NotFoundError(f"keyring {candidates[-1]}", "without it no Debian archive can be trusted", _GET)
    return found


def check_signature(signed: Signed, keyring: Path, subject: str, which: Callable[[str], str | None] = shutil.which) -> None:
    """Return if a key of the keyring has signed the text; raise BadInputError otherwise, UnsupportedError where no program can tell."""
    tools = ((name, program) for name in _TOOLS if (program := which(name)) is not None)
    name, program = next(tools, ("", ""))
    if not program:
        raise UnsupportedError("checking signatures", "neither gpgv nor sqv is installed", "install one of them: apt install gpgv")
    try:
        answer = _ask(name, program, signed, keyring)
    except subprocess.TimeoutExpired as fault:
        raise BadInputError(subject, f"{name} does not come to an end over its signature", "pull again") from fault
    except OSError as fault:
        raise out_of_space(fault, Path(tempfile.gettempdir())) from fault
    good = _gpgv_is_content(answer.stdout) if name == "gpgv" else answer.returncode == 0
    if not good:
        raise BadInputError(subject, f"no key of {keyring} has signed it", "do not use this mirror, or update debian-archive-keyring")


def _ask(name: str, program: str, signed: Signed, keyring: Path) -> subprocess.CompletedProcess[bytes]:
    with tempfile.TemporaryDirectory(prefix="gasang-") as folder:
        text, signature = Path(folder, "text"), Path(folder, "signature")
        text.write_bytes(signed.text.encode())
        signature.write_bytes(signed.signature)
        command = [program, "--keyring", str(keyring.absolute()), *_TOOLS[name], str(signature), str(text)]
        return subprocess.run(command, capture_output=True, check=False, timeout=TIMEOUT, stdin=subprocess.DEVNULL)


def _gpgv_is_content(status: bytes) -> bool:
    """Debian signs with several keys, of which an older keyring lacks some: one good signature and no bad one is asked for."""
    return _GOOD.search(status) is not None and _BAD.search(status) is None


_TOOLS: dict[str, tuple[str, ...]] = {"gpgv": ("--status-fd", "1"), "sqv": ()}
