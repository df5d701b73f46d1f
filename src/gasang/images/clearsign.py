"""Text signed in the clear (RFC 9580, section 7): taken apart into exactly the bytes the signature is over, and the signature.

Whatever stands outside of the signed part is refused, so that nothing unsigned is ever read as if it were signed.
"""

from __future__ import annotations

from typing import NamedTuple

from gasang.core.errors import BadInputError

BEGIN = "-----BEGIN PGP SIGNED MESSAGE-----"
SIGNATURE = "-----BEGIN PGP SIGNATURE-----"
END = "-----END PGP SIGNATURE-----"


class Signed(NamedTuple):
    """The signed text, lines ended by line feeds, and the armoured signature."""

    text: str
    signature: bytes


def take_apart(data: bytes, subject: str) -> Signed:
    """The two parts; raise BadInputError for anything that is not one clear-signed text and nothing else."""
    try:
        lines = data.decode("utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as fault:
        raise _damaged(subject, "it is no text") from fault
    lines = [line.rstrip(" \t\r") for line in lines]
    if lines[0] != BEGIN:
        raise _damaged(subject, "it does not begin as a signed text does")
    if lines[-1] != END or lines.count(END) != 1 or lines.count(SIGNATURE) != 1 or "" not in lines:
        raise _damaged(subject, "its end is missing, or there is more than one signed text in it")
    start, split = lines.index("") + 1, lines.index(SIGNATURE)
    if start > split or not all(line.startswith("Hash: ") for line in lines[1 : start - 1]):
        raise _damaged(subject, "its headers are no signed text's")
    text = "\n".join(_plain(line, subject) for line in lines[start:split])
    return Signed(text, ("\n".join(lines[split:]) + "\n").encode())


def _plain(line: str, subject: str) -> str:
    """A line without its dash escape (section 7.2)."""
    if not line.startswith("-"):
        return line
    if not line.startswith("- "):
        raise _damaged(subject, f"its line {line[:40]!r} is not escaped")
    return line[2:]


def _damaged(subject: str, cause: str) -> BadInputError:
    return BadInputError(subject, cause, "pull again, or use another mirror")
