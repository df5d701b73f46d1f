"""Mirrors that do not answer, break off, lie or are forged: one sentence, its code, nothing left but what the next pull goes on from."""

from __future__ import annotations

import lzma
import os
import re
import signal
import socket
import subprocess
import tarfile
import time

import pytest

from gasang.images.ready import ready_folder
from support.command import Done, Home, check_sentence
from support.debian_archive import RELEASE, Archive, Server, Signer, ar_of, deb_of, member, small_debian, tar_of
from support.small_disk import small_disk

PULL = ("pull", "debian:trixie")
DOWNLOADS = "home/cache/packages/riscv64/"
APT = "pool/main/apt_1.0-1_riscv64.deb"
INDEX = "dists/trixie/main/binary-riscv64/Packages.xz"
RELEASE_FILE = "dists/trixie/InRelease"
BOOTED = "image debian:trixie: its machine ended too early; pull it again"
"""What a pull ends with when all that a mirror gives is right: the kernel of these tests does nothing."""


def downloads(home: Home) -> set[str]:
    """What was downloaded; nothing else has been left."""
    files = home.files()
    assert all(path.startswith(DOWNLOADS) for path in files), files
    return {path.removeprefix(DOWNLOADS) for path in files}


def refused(home: Home, code: int, says: str, **options: str) -> Done:
    """A pull that fails, leaving at most downloads."""
    done = home.run(*PULL, **options)
    check_sentence(done, code, says)
    downloads(home)
    return done


def test_all_is_right_but_the_kernel(home: Home, server: Server) -> None:
    """The measure of the other tests: this far a pull comes."""
    refused(home, 1, BOOTED)
    assert len(downloads(home)) == 6
    server.requests.clear()
    home.settings.pop("GASANG_MIRROR")
    (home.home / "config.toml").write_text(f"mirror = '{server.address}'")
    done = home.run("run", "--vm", "debian:trixie", "--", "true")
    check_sentence(done, 1, BOOTED)
    assert [path for path, _ in server.requests] == [RELEASE_FILE]


def test_nobody_at_the_address(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    home.settings |= {"GASANG_MIRROR": f"http://127.0.0.1:{port}", "GASANG_KEYRING": __file__}
    home.refused(*PULL, code=1, says=rf"{port}/{RELEASE_FILE}: the mirror does not answer \(Connection refused\); try again later")
    home.settings["GASANG_MIRROR"] = "https://127.0.0.1:1"
    home.refused(*PULL, code=1, says="the mirror does not answer")


@pytest.mark.parametrize("fault", ["mute", "silent"])
def test_a_mirror_that_stalls(home: Home, server: Server, fault: str) -> None:
    home.settings["GASANG_TIMEOUT"] = "100ms"
    server.faults[RELEASE_FILE] = [fault] * 4
    home.refused(*PULL, code=8, says=rf"{RELEASE_FILE}: the mirror sent nothing for 0.1 seconds; try again later, or set another mirror")
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("faults", "code", "says"),
    [
        (["404"], 3, "Debian trixie: .* has no such suite; try bookworm, trixie or sid"),
        (["403"], 1, f"{RELEASE_FILE}: the mirror refuses it .403 "),
        (["503"] * 4, 1, f"{RELEASE_FILE}: the mirror cannot serve it .503 "),
        (["break"] * 4, 1, f"{RELEASE_FILE}: the connection broke off again and again"),
    ],
)
def test_a_mirror_without_a_release_file(home: Home, server: Server, faults: list[str], code: int, says: str) -> None:
    server.faults[RELEASE_FILE] = faults
    home.refused(*PULL, code=code, says=says)


def test_release_files(home: Home, server: Server, signer: Signer, archive: Archive) -> None:
    path = archive.root / RELEASE_FILE
    good = path.read_bytes()
    text = good.split(b"\n\n", 1)[1].split(b"-----BEGIN PGP SIGNATURE", 1)[0].decode()
    another = "use another mirror"
    cases = {
        b"": (1, "it does not begin as a signed text does; pull again"),
        b"\xff\xfe": (1, "it is no text"),
        b"<html>Please log in</html>": (1, "it does not begin as a signed text does"),
        text.encode(): (1, "it does not begin as a signed text does"),
        good[:-60]: (1, "its end is missing"),
        good.replace(b"stable", b"staple"): (1, "no key of .*keyring.gpg has signed it; do not use this mirror"),
        good.replace(b"Codename", b"-Codename", 1): (1, "its line '-Codename: trixie' is not escaped"),
        good + good: (1, "there is more than one signed text in it"),
        b"x" * (17 << 20): (1, "it has more than 16777216 bytes"),
        signer.sign(text.replace("Codename: trixie", "Codename: sid")): (1, f"it is the one of sid; {another}"),
        signer.sign(text + "Valid-Until: Sat, 01 Jan 2000 00:00:00 UTC\n"): (
            1,
            "it has expired on Sat, 01 Jan 2000 .*; use another mirror",
        ),
        signer.sign(text + "Valid-Until: soon\n"): (1, "its date 'soon' is none"),
        signer.sign("Codename: trixie\nArchitectures: riscv64\n"): (1, "it lists no SHA-256 hashes"),
        signer.sign("Codename: trixie\nSHA256:\n x y z\n"): (1, "its line 'x y z' is no hash, size and path"),
        signer.sign(text.replace("all riscv64", "all amd64")): (3, "Debian trixie for riscv64: it does not exist; it comes for amd64"),
        signer.sign("no field at all\n"): (1, "its line 'no field at all' is no field"),
    }
    for content, (code, says) in cases.items():
        path.write_bytes(content)
        home.refused(*PULL, code=code, says=says)


def test_somebody_elses_signature(home: Home, server: Server) -> None:
    home.settings["GASANG_KEYRING"] = "/usr/share/keyrings/debian-archive-keyring.gpg"
    home.refused(*PULL, code=1, says="release file of Debian trixie at .*: no key of .* has signed it; do not use this mirror")
    home.settings["GASANG_KEYRING"] = str(home.root / "none.gpg")
    home.refused(*PULL, code=3, says="keyring .*none.gpg: there is no such file; check the setting keyring")
    home.settings["PATH"] = str(home.root)
    home.settings["GASANG_KEYRING"] = __file__
    home.refused(*PULL, code=6, says="checking signatures: neither gpgv nor sqv is installed; install one of them")


def test_indexes(home: Home, server: Server, signer: Signer, archive: Archive) -> None:
    index = "\n".join(archive.entries)
    apt = next(entry for entry in archive.entries if entry.startswith("Package: apt\n"))

    def with_apt(pattern: str, field: str) -> bytes:
        return lzma.compress(index.replace(apt, re.sub(pattern, field, apt)).encode())

    def with_text(old: str, new: str) -> bytes:
        assert old in index
        return lzma.compress(index.replace(old, new).encode())

    damaged = "is missing or damaged; pull again, or use another mirror"
    cases = {
        b"": (1, "package index of Debian trixie: its compressed data ends early"),
        b"hello": (1, "package index of Debian trixie: its compressed data is damaged"),
        b"hello" * 99: (1, "package index of Debian trixie: its compressed data is damaged"),
        lzma.compress(index.encode())[:-20]: (1, "its compressed data ends early"),
        lzma.compress(b""): (3, "package apt: the image needs it, and the archive has none such"),
        lzma.compress(b"Version: 1\n"): (1, "its entry 'Version: 1' names no package"),
        with_text("Depends: libc6", "Depends: libc6 (>> one)"): (3, "package libc6 .>> one.: package base-files needs it"),
        with_text("Depends: libc6", "Depends: !!"): (1, "index entry of base-files: its relation '!!' is none"),
        with_text("Package: busybox-static", "Package: busy"): (3, "package busybox-static: the image needs it"),
        with_text(f"Depends: linux-image-{RELEASE}", "Section: kernel"): (1, "package linux-image-riscv64: it leads to 0 kernels"),
        with_apt("Filename: .*", "Filename: ../../etc/passwd"): (1, f"index entry of apt: its field filename {damaged}"),
        with_apt("Size: .*", "Size: -1"): (1, f"index entry of apt: its field size {damaged}"),
        with_apt("SHA256: .*", "SHA256: 00"): (1, f"index entry of apt: its field sha256 {damaged}"),
    }
    for content, (code, says) in cases.items():
        archive.publish_index(content, signer.sign)
        refused(home, code, says)
    archive.publish(signer.sign)
    server.faults[INDEX] = ["damage"] * 2
    (home.home / "cache/packages/riscv64/Packages-trixie.xz").unlink(missing_ok=True)
    refused(home, 1, f"{INDEX}: its hash is not the one that the index promises")


HOSTILE = {
    "no archive": (b"hello", "it does not start as a .deb does; delete it and pull again"),
    "archive cut off": (deb_of({"control": b""}, b"")[:150], "says [0-9]+ bytes, the file ends before that"),
    "no data": (
        ar_of(("debian-binary", b"2.0\n"), ("control.tar.xz", lzma.compress(tar_of()))),
        "it has no control file|it has no data.tar",
    ),
    "no control": (deb_of({"postinst": b""}, tar_of()), "it has no control file"),
    "damaged xz": (ar_of(("control.tar.xz", b"hello" * 99)), "control.tar.xz: its compressed data is damaged"),
    "odd compression": (ar_of(("control.tar.rar", b"hello")), "its compression .rar is not known; known are xz, gz, zst"),
    "a bomb": (ar_of(("control.tar.xz", lzma.compress(bytes(70 << 20), preset=0))), "it unpacks to more than 67108864 bytes"),
    "a path above": (tar_of(member("../../etc/passwd")), "its path ../../etc/passwd leads outside; do not trust where it comes from"),
    "an absolute path": (tar_of(member("/etc/passwd")), "its path /etc/passwd leads outside"),
    "a link above": (tar_of(member("./usr/x", tarfile.SYMTYPE, target="../../etc")), "its link usr/x leads outside, to ../../etc"),
    "a hard link above": (tar_of(member("./x", tarfile.LNKTYPE, target="../../etc/passwd")), "its path ../../etc/passwd leads outside"),
    "a hard link to nothing": (tar_of(member("./x", tarfile.LNKTYPE, target="./y")), "its link x names y, which it does not hold"),
    "a circle of links": (
        tar_of(member("./a", tarfile.SYMTYPE, target="b"), member("./b", tarfile.SYMTYPE, target="a"), member("./a/c")),
        "its links go round in a circle|above it is no directory",
    ),
    "a file above a file": (tar_of(member("./a"), member("./a/b")), "above it is no directory"),
    "no tar": (b"hello" * 1000, "its archive is damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_packages(home: Home, server: Server, signer: Signer, archive: Archive, name: str) -> None:
    content, says = HOSTILE[name]
    text = "Package: apt\nVersion: 1.0-1\nArchitecture: riscv64\nPriority: required\n"
    whole = content.startswith((b"!<arch>", b"hello")) and name != "no tar"
    archive.without("apt")
    archive.add_deb("apt", text, content if whole else deb_of({"control": text.encode()}, content))
    archive.publish(signer.sign)
    refused(home, 1, says)


@pytest.mark.parametrize(
    ("kernel", "says"),
    [
        (
            bytes(0x202) + b"HdrS" + bytes(99),
            f"boot/vmlinux-{RELEASE}: it is no boot image for riscv64 but one for amd64",
        ),
        (b"", "it is no boot image for riscv64"),
        (b"\x1f\x8b\x08", "its compressed data ends early"),
    ],
)
def test_kernels_in_packages(home: Home, server: Server, signer: Signer, archive: Archive, kernel: bytes, says: str) -> None:
    small_debian(archive.root, kernel).publish(signer.sign)
    refused(home, 1, says)


def test_a_file_that_is_changed_on_the_way(home: Home, server: Server) -> None:
    server.faults[APT] = ["damage"] * 2
    refused(home, 1, f"{APT}: its hash is not the one that the index promises; try again later, or set another mirror")
    assert not any("apt_1.0" in name for name in downloads(home))
    refused(home, 1, BOOTED)


def test_a_file_that_the_mirror_lacks(home: Home, server: Server, archive: Archive) -> None:
    (archive.root / APT).unlink()
    refused(home, 3, f"{APT}: the mirror has no such file; set another mirror")


def test_a_file_shorter_than_promised(home: Home, server: Server, archive: Archive) -> None:
    data = (archive.root / APT).read_bytes()
    (archive.root / APT).write_bytes(data[:-10])
    refused(home, 1, f"{APT}: it has {len(data) - 10} bytes, the index promises {len(data)}")


def test_a_connection_that_breaks_off_is_resumed(home: Home, server: Server) -> None:
    """Within one pull where the mirror goes on, else by the next pull."""
    server.faults[APT] = ["break"]
    refused(home, 1, BOOTED)
    assert [asked[:6] for path, asked in server.requests if path == APT] == ["", "bytes="]


def test_a_pull_goes_on_where_another_ended(home: Home, server: Server) -> None:
    server.ranges = False
    server.faults[APT] = ["break"] * 4
    refused(home, 1, f"{APT}: the connection broke off again and again; what came is kept")
    (partial,) = (name for name in downloads(home) if name.endswith(".partial"))
    kept = (home.root / DOWNLOADS / partial).stat().st_size
    server.ranges = True
    server.requests.clear()
    refused(home, 1, BOOTED)
    assert [asked for path, asked in server.requests if path == APT] == [f"bytes={kept}-"]
    assert not any(name.endswith(".partial") for name in downloads(home))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_pull_that_is_ended(home: Home, server: Server, number: signal.Signals) -> None:
    server.faults[APT] = ["silent"]
    with home.started(*PULL) as process:
        assert server.fell_silent.wait(60)
        start = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert time.monotonic() - start < 20  # and not the thirty seconds of the mirror's patience
    expected = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    assert (process.returncode, said) == (expected, b"" if number == signal.SIGKILL else b"gasang: interrupted\n")
    if number != signal.SIGKILL:
        downloads(home)
    refused(home, 1, BOOTED)


def test_a_full_disk(home: Home, server: Server, signer: Signer, archive: Archive) -> None:
    """At whatever step it is full: told, nothing left but whole downloads and what resumes; with more room it goes on."""
    archive.without("libc6")
    archive.add("libc6", files={"usr/lib/libc.so": os.urandom(600_000)})
    archive.publish(signer.sign)
    os.rmdir(home.home)
    with small_disk(home.home, 64):
        for kibibytes in (64, 300, 800, 1600, 2200, 3000, 4000):
            subprocess.run(["mount", "-o", f"remount,size={kibibytes}k", str(home.home)], check=True)
            done = home.run(*PULL)
            downloads(home)
            if done.code != 7:
                break
            check_sentence(done, 7, r"^gasang: \S.*no space is left|disk is full.*; free some")
        assert kibibytes > 800
        subprocess.run(["mount", "-o", "remount,size=400m", str(home.home)], check=True)
        refused(home, 1, BOOTED)
        assert len([path for path, _ in server.requests if path.endswith("libc6_1.0-1_riscv64.deb")]) <= 3


def test_a_disk_that_fills_while_an_image_is_unpacked(home: Home) -> None:
    """Into the cache, from the store."""
    from gasang.images.store import DISK, INITRD, KERNEL, Store
    from gasang.storage.sparse import pack

    raw = home.root / "disk.raw"
    raw.write_bytes(os.urandom(3 << 20))
    os.rmdir(home.home)
    with small_disk(home.home, 5 << 10):
        store = Store(home.home / "data" / "images")
        with store.changing():
            with store.writer(DISK) as writer:
                pack(raw, writer)  # type: ignore[arg-type]
            layers = [writer.blob, store.add_bytes(b"k", KERNEL), store.add_bytes(b"i", INITRD)]
            image = store.tag("debian:small", layers, {"disk_size": 3 << 20, "append": ""})
        home.refused("run", "--vm", "debian:small", "--", "true", code=7, says="disk is full|no space is left")
        assert not list(ready_folder(home.home / "cache", image).glob("*"))
