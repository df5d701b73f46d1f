"""Clear-signed texts: exactly the signed part comes out, everything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.images.clearsign import take_apart
from support.debian_archive import Signer

SIGNED = """-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

Origin: Debian
- -----odd line

last
-----BEGIN PGP SIGNATURE-----

abc=
-----END PGP SIGNATURE-----
"""


def test_text_and_signature() -> None:
    text, signature = take_apart(SIGNED.encode(), "x")
    assert text == "Origin: Debian\n-----odd line\n\nlast"
    assert signature == b"-----BEGIN PGP SIGNATURE-----\n\nabc=\n-----END PGP SIGNATURE-----\n"


def test_line_ends_of_other_systems() -> None:
    assert take_apart(SIGNED.replace("\n", "\r\n").encode(), "x") == take_apart(SIGNED.encode(), "x")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "does not begin"),
        ("Origin: evil\n" + SIGNED, "does not begin"),
        (SIGNED + "Origin: evil\n", "its end is missing"),
        (SIGNED + SIGNED, "more than one signed text"),
        (SIGNED.replace("-----END PGP SIGNATURE-----\n", ""), "its end is missing"),
        (SIGNED.replace("-----BEGIN PGP SIGNATURE-----", ""), "its end is missing"),
        (SIGNED.replace("- -----odd", "-----odd"), "is not escaped"),
        (SIGNED.replace("Hash: SHA256\n", "Hash: SHA256\nOrigin: evil\n"), "its headers are no signed text's"),
        (SIGNED.replace("\n\n", "\n"), "its end is missing"),
        ("<html>404</html>", "does not begin"),
        (b"\xff\xfe", "it is no text"),
    ],
)
def test_anything_else_is_refused(data: str | bytes, message: str) -> None:
    raw = data if isinstance(data, bytes) else data.encode()
    with pytest.raises(BadInputError, match=f"release x: .*{message}"):
        take_apart(raw, "release x")


@given(st.binary(max_size=300))
def test_garbage_never_gets_through(data: bytes) -> None:
    with pytest.raises(BadInputError):
        take_apart(data, "x")


def test_what_gnupg_makes(signer: Signer) -> None:
    text = "A: 1\n- dash\nSHA256:\n x\n"
    assert take_apart(signer.sign(text), "x").text == text.rstrip("\n")
