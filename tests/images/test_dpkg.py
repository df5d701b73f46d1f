"""dpkg's records, with dpkg itself as the judge where it is installed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError
from gasang.images.deb import ControlFile
from gasang.images.dpkg import Unpacked, database
from gasang.storage.tree import Entry, Kind

CONTROL = "Package: {name}\nVersion: 1\nArchitecture: riscv64\nMaintainer: M <m@example.org>\n{more}Description: d\n long\n .\n more\n"


def package(name: str, more: str = "", files: tuple[Entry, ...] = (), **control: str) -> Unpacked:
    texts = {"control": CONTROL.format(name=name, more=more), **control}
    return Unpacked({key.replace("_", "-"): ControlFile(text.encode(), 0o755) for key, text in texts.items()}, files)


def files_of(*packages: Unpacked) -> dict[str, str]:
    return {
        str(entry.path).removeprefix("var/lib/dpkg/"): entry.data.decode()
        for entry in database(packages)
        if entry.kind is Kind.FILE and isinstance(entry.data, bytes)
    }


SHARED = package("libx", "Multi-Arch: same\n", triggers="# c\ninterest-noawait ldconfig\nactivate x\ninterest /usr/lib/x\n")
PLAIN = package(
    "a",
    files=(
        Entry(path="", kind=Kind.DIRECTORY),
        Entry(path="etc", kind=Kind.DIRECTORY),
        Entry(path="etc/a.conf", kind=Kind.FILE, data=b"setting\n"),
    ),
    conffiles="/etc/a.conf\nremove-on-upgrade /etc/old\n",
    postinst="#!/bin/sh\n",
    triggers="interest ldconfig\ninterest-await other\n",
)


def test_status_and_lists() -> None:
    found = files_of(SHARED, PLAIN)
    digest = hashlib.md5(b"setting\n").hexdigest()
    first, second = found["status"].split("\n\n")
    assert first.startswith("Package: a\nStatus: install ok unpacked\nVersion: 1\n")
    assert first.endswith(f"Conffiles:\n /etc/a.conf {digest}")
    assert second.startswith("Package: libx\n")
    assert found["info/a.list"] == "/.\n/etc\n/etc/a.conf\n"
    assert found["info/libx:riscv64.triggers"].startswith("# c")
    assert found["info/format"] == "1\n"
    assert "info/a.control" not in found


def test_scripts_can_be_run_the_rest_cannot() -> None:
    modes = {str(entry.path): entry.mode for entry in database([PLAIN])}
    assert modes["var/lib/dpkg/info/a.postinst"] == 0o755
    assert modes["var/lib/dpkg/info/a.conffiles"] == 0o644


def test_triggers() -> None:
    found = files_of(SHARED, PLAIN)
    assert found["triggers/File"] == "/usr/lib/x libx:riscv64\n"
    assert found["triggers/ldconfig"] == "a\nlibx:riscv64/noawait\n"
    assert found["triggers/other"] == "a\n"


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", ".hidden"])
def test_odd_trigger_names_are_refused(name: str) -> None:
    with pytest.raises(BadInputError, match="package a: its trigger has the odd name"):
        list(database([package("a", triggers=f"interest {name}\n")]))


def test_a_missing_configuration_file_is_told() -> None:
    with pytest.raises(BadInputError, match="package a: its configuration file /etc/x is missing"):
        package("a", conffiles="/etc/x\n").status()


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="dpkg, the judge, is not installed")
def test_dpkg_reads_it(tmp_path: Path) -> None:
    for entry in database([SHARED, PLAIN]):
        target = tmp_path / str(entry.path)
        if entry.kind is Kind.DIRECTORY:
            target.mkdir(parents=True)
        elif isinstance(entry.data, bytes):
            target.write_bytes(entry.data)
    shown = "--showformat=${Package} ${Status} ${Version}\n${Conffiles}\n"
    command = ["dpkg-query", "--admindir", str(tmp_path / "var/lib/dpkg")]
    states = subprocess.run([*command, "--show", shown], check=True, capture_output=True, text=True).stdout
    digest = hashlib.md5(b"setting\n").hexdigest()
    assert states == f"a install ok unpacked 1\n /etc/a.conf {digest}\nlibx install ok unpacked 1\n\n"
    files = subprocess.run([*command, "--listfiles", "a"], check=True, capture_output=True, text=True).stdout
    assert files == "/.\n/etc\n/etc/a.conf\n"
