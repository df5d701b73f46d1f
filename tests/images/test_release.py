"""Release files: signed, of the suite that was asked for, not expired."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, NotFoundError
from gasang.images.mirror import Mirror, Patience, Wanted
from gasang.images.release import fetch_release, parse_release
from support.debian_archive import Archive, Server, Signer

HASH = "ab" * 32
TEXT = f"""Suite: stable
Codename: trixie
Version: 13.7
Architectures: all amd64 riscv64
SHA256:
 {HASH} 123 main/binary-riscv64/Packages.xz
 {HASH}      77 main/binary-amd64/Packages.xz"""
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("suite", ["stable", "trixie"])
def test_what_it_says(suite: str) -> None:
    release = parse_release(TEXT, suite, "x", NOW)
    assert (release.codename, release.version, release.architectures) == ("trixie", "13.7", ("all", "amd64", "riscv64"))
    assert release.index("main", "amd64") == Wanted("dists/trixie/main/binary-amd64/Packages.xz", 77, HASH)


def test_indices_by_hash() -> None:
    release = parse_release(TEXT + "\nAcquire-By-Hash: yes", "trixie", "x", NOW)
    assert release.index("main", "riscv64") == Wanted(f"dists/trixie/main/binary-riscv64/by-hash/SHA256/{HASH}", 123, HASH)


def test_an_architecture_it_lacks() -> None:
    with pytest.raises(NotFoundError, match="Debian trixie for s390x: it does not exist; it comes for amd64, riscv64"):
        parse_release(TEXT, "trixie", "x", NOW).index("main", "s390x")


def test_a_suite_of_before_an_architecture() -> None:
    text = TEXT.replace("trixie", "bookworm").replace("amd64 riscv64", "amd64")
    with pytest.raises(NotFoundError, match=r"for riscv64: .*it comes for amd64; riscv64 came with debian:trixie"):
        parse_release(text, "bookworm", "x", NOW).index("main", "riscv64")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT.replace("trixie", "buster").replace("stable", "oldstable"), "it is the one of buster"),
        (TEXT + "\nValid-Until: Wed, 31 Dec 2025 23:59:59 UTC", "it has expired on Wed, 31 Dec 2025"),
        (TEXT + "\nValid-Until: soon", "its date 'soon' is none"),
        (TEXT.replace("123", "-1"), "is no hash, size and path"),
        (TEXT.replace(HASH, HASH[2:]), "is no hash, size and path"),
        (TEXT.split("SHA256")[0], "lists no SHA-256 hashes"),
        ("", "it is empty"),
    ],
)
def test_what_is_wrong_is_told(text: str, message: str) -> None:
    with pytest.raises(BadInputError, match=f"release x: .*{message}"):
        parse_release(text, "trixie", "release x", NOW)


def test_one_that_is_valid_for_a_while() -> None:
    assert parse_release(TEXT + "\nValid-Until: Fri, 02 Jan 2026 00:00:00 UTC", "trixie", "x", NOW).codename == "trixie"


def mirror_of(server: Server) -> Mirror:
    return Mirror(server.address, Patience(5.0, 1))


def test_from_a_mirror(server: Server, mirror_folder: Path, signer: Signer) -> None:
    Archive(mirror_folder).publish(signer.sign)
    release = fetch_release(mirror_of(server), "trixie", signer.keyring, "riscv64")
    assert release.codename == "trixie"
    assert list(release.files) == ["main/binary-riscv64/Packages.xz"]


INDEX = "dists/trixie/main/binary-riscv64/Packages.xz"


def publish_the_one_before(folder: Path, signer: Signer, codename: str = "trixie") -> None:
    """By the suite's other name, its index by hash; the new one's index is not there yet."""
    archive = Archive(folder, suite="stable")
    archive.publish(signer.sign, **{"Codename": codename, "Version": "13.6", "Acquire-By-Hash": "yes"})
    index = (folder / INDEX.replace("trixie", "stable")).read_bytes()
    by_hash = (folder / INDEX).parent / "by-hash" / "SHA256" / sha256(index).hexdigest()
    by_hash.parent.mkdir(parents=True)
    by_hash.write_bytes(index)
    Archive(folder).publish(signer.sign, Version="13.7")
    (folder / INDEX).unlink()


def test_while_a_mirror_is_brought_up_to_date_the_release_before_is_taken(server: Server, mirror_folder: Path, signer: Signer) -> None:
    publish_the_one_before(mirror_folder, signer)
    release = fetch_release(mirror_of(server), "trixie", signer.keyring, "riscv64")
    assert (release.codename, release.version) == ("trixie", "13.6")
    assert (mirror_folder / release.index("main", "riscv64").path).is_file()


def test_what_has_the_other_name_must_be_the_same_suite(server: Server, mirror_folder: Path, signer: Signer) -> None:
    publish_the_one_before(mirror_folder, signer, codename="bookworm")
    assert fetch_release(mirror_of(server), "trixie", signer.keyring, "riscv64").version == "13.7"


def test_an_index_that_no_release_there_has(server: Server, mirror_folder: Path, signer: Signer) -> None:
    Archive(mirror_folder).publish(signer.sign, Version="13.7")
    (mirror_folder / INDEX).unlink()
    assert fetch_release(mirror_of(server), "trixie", signer.keyring, "riscv64").version == "13.7"


def test_a_suite_nobody_has(server: Server, signer: Signer) -> None:
    with pytest.raises(NotFoundError, match=f"Debian potato: {server.address} has no such suite; try"):
        fetch_release(mirror_of(server), "potato", signer.keyring, "riscv64")


def test_a_changed_release_file(server: Server, mirror_folder: Path, signer: Signer) -> None:
    Archive(mirror_folder).publish(lambda text: signer.sign(text).replace(b"Suite: stable", b"Suite: stabl3"))
    with pytest.raises(BadInputError, match=r"release file of Debian trixie at .*: no key of .* has signed it"):
        fetch_release(mirror_of(server), "trixie", signer.keyring, "riscv64")


def test_a_release_file_cut_short(server: Server, mirror_folder: Path, signer: Signer) -> None:
    Archive(mirror_folder).publish(lambda text: signer.sign(text)[:-60])
    with pytest.raises(BadInputError, match="its end is missing"):
        fetch_release(mirror_of(server), "trixie", signer.keyring, "riscv64")
