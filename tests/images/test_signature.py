"""Signatures: a key of the keyring, over this very text, or nothing."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, NotFoundError, UnsupportedError
from gasang.images.clearsign import Signed, take_apart
from gasang.images.signature import check_signature, debian_keyring
from support.debian_archive import Signer

TEXT = "Origin: Debian\nSuite: stable\n- dash\n"
TOOLS = ["gpgv", "sqv"]


def only(tool: str):
    """As if the host had just one program."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    return lambda name: shutil.which(name) if name == tool else None


@pytest.mark.parametrize("tool", TOOLS)
def test_a_good_signature(signer: Signer, tool: str) -> None:
    check_signature(take_apart(signer.sign(TEXT), "x"), signer.keyring, "x", only(tool))


@pytest.mark.parametrize("tool", TOOLS)
def test_a_changed_text(signer: Signer, tool: str) -> None:
    signed = take_apart(signer.sign(TEXT), "x")
    with pytest.raises(BadInputError, match=f"release file x: no key of {signer.keyring} has signed it"):
        check_signature(Signed(signed.text.replace("stable", "stabl3"), signed.signature), signer.keyring, "release file x", only(tool))


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("signature", [b"", b"-----BEGIN PGP SIGNATURE-----\n\nabc=\n-----END PGP SIGNATURE-----\n"])
def test_no_signature(signer: Signer, tool: str, signature: bytes) -> None:
    with pytest.raises(BadInputError, match="has signed it"):
        check_signature(Signed(TEXT, signature), signer.keyring, "x", only(tool))


@pytest.mark.parametrize("tool", TOOLS)
def test_somebody_elses_key(signer: Signer, tmp_path: Path, tool: str) -> None:
    other = Signer(tmp_path / "other")
    try:
        signed = take_apart(other.sign(TEXT), "x")
    finally:
        other.close()
    with pytest.raises(BadInputError, match="has signed it"):
        check_signature(signed, signer.keyring, "x", only(tool))


def test_one_known_key_of_several_is_enough(tmp_path: Path) -> None:
    """Debian signs with next year's key too; gpgv then ends with an error that is none."""
    gpgv = tmp_path / "gpgv"
    gpgv.write_text("#!/bin/sh\necho '[GNUPG:] NO_PUBKEY 1'\necho '[GNUPG:] GOODSIG 2 Archive'\nexit 2\n")
    gpgv.chmod(stat.S_IRWXU)
    check_signature(Signed(TEXT, b"x"), tmp_path / "keyring", "x", lambda name: str(gpgv) if name == "gpgv" else None)


@pytest.mark.parametrize("status", ["BADSIG 1 x", "REVKEYSIG 1 x", "EXPSIG 1 x"])
def test_one_bad_signature_of_several_is_too_much(tmp_path: Path, status: str) -> None:
    gpgv = tmp_path / "gpgv"
    gpgv.write_text(f"#!/bin/sh\necho '[GNUPG:] GOODSIG 2 Archive'\necho '[GNUPG:] {status}'\nexit 0\n")
    gpgv.chmod(stat.S_IRWXU)
    with pytest.raises(BadInputError, match="has signed it"):
        check_signature(Signed(TEXT, b"x"), tmp_path / "keyring", "x", lambda name: str(gpgv) if name == "gpgv" else None)


def test_no_program() -> None:
    with pytest.raises(UnsupportedError, match="neither gpgv nor sqv is installed; install one of them: apt install gpgv"):
        check_signature(Signed(TEXT, b""), Path("keyring"), "x", lambda name: None)


def test_the_keyring(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"without it no Debian archive can be trusted; install the package debian-archive-keyring"):
        debian_keyring((tmp_path / "a", tmp_path / "b"))
    (tmp_path / "b").write_bytes(b"")
    assert debian_keyring((tmp_path / "a", tmp_path / "b")) == tmp_path / "b"
