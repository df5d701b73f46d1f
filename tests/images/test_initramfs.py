"""The initramfs and the settings of a run; the settings are read by a real shell, as in the guest."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import UsageError
from gasang.images.initramfs import DEFAULT_ENVIRONMENT, GuestSettings, initramfs, overlay
from gasang.images.kernel import Kernel, KernelModule
from support.cpio_reader import unpack

GUEST = Path(__file__).parents[2] / "src" / "gasang" / "images" / "guest"
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)


def script(settings: GuestSettings) -> bytes:
    return unpack(overlay(settings))[b"gasang/settings"].data


def read_by_a_shell(settings: GuestSettings) -> list[str]:
    """The variables and the words that a shell has after it has read the settings."""
    program = b'set -e\n. /dev/stdin\nprintf "%s\\0" "$mode" "$hostname" "$ports" "$tty" "$terminal" "$root" "$@"\n'
    done = subprocess.run(["sh", "-c", program], input=script(settings), capture_output=True, check=True)
    return done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]


def test_the_archive_holds_what_the_first_process_needs() -> None:
    kernel = Kernel("6.1", "riscv64", b"", (KernelModule("low", b"1"), KernelModule("high", b"2")), frozenset())
    found = unpack(initramfs(kernel, b"busybox's bytes"))
    assert found[b"bin/busybox"].data == b"busybox's bytes"
    assert found[b"bin/sh"].data == b"busybox"
    assert found[b"modules/order"].data == b"low\nhigh\n"
    assert found[b"modules/high.ko"].data == b"2"
    assert found[b"init"].data == (GUEST / "init").read_bytes()
    assert found[b"init"].mode & 0o777 == 0o755
    assert found[b"dev/console"].device == (5, 1)
    assert all(path.rsplit(b"/", 1)[0] in found or b"/" not in path for path in found)


@given(st.lists(WORDS, min_size=1, max_size=4), st.lists(st.tuples(st.from_regex(r"[A-Za-z_.]{1,8}", fullmatch=True), WORDS), max_size=3))
def test_every_word_arrives_as_it_was_given(command: list[str], environment: list[tuple[str, str]]) -> None:
    assignments = tuple(f"{name}={value}" for name, value in environment)
    found = read_by_a_shell(GuestSettings("command", tuple(command), assignments))
    assert found == ["command", "debian", "1", "", "", "/dev/vda", *DEFAULT_ENVIRONMENT, *assignments, *command]


def test_words_that_are_no_text() -> None:
    assert read_by_a_shell(GuestSettings("command", ("\udcff'\n$(x)`y`\\",)))[-1] == "\udcff'\n$(x)`y`\\"


def test_a_shell_on_a_terminal() -> None:
    settings = GuestSettings("shell", hostname="box-1", tty=True, ports=False, device="hvc0", root="/dev/vdb")
    assert read_by_a_shell(settings) == ["shell", "box-1", "", "hvc0", "1", "/dev/vdb", *DEFAULT_ENVIRONMENT, "/bin/bash", "-l"]


def test_folders_of_the_host_are_a_line_each() -> None:
    settings = GuestSettings(mounts=("gasang0 ro,nodev /it's", "gasang1 rw,nodev /b"))
    program = b'. /dev/stdin\nprintf "%s" "$mounts"\n'
    done = subprocess.run(["sh", "-c", program], input=script(settings), capture_output=True, check=True)
    assert done.stdout == b"gasang0 ro,nodev /it's\ngasang1 rw,nodev /b"


def test_a_network_card_and_modules_nobody_needs() -> None:
    card: dict[str, Any] = {"addresses": ("10.0.0.2/8", "fd00::2/64"), "gateways": ("10.0.0.1",)}
    card["resolver"] = "169.254.0.1 02:00:00:00:00:01"
    settings = GuestSettings(resolv_conf="nameserver 1.1.1.1\nsearch it's\n", unwanted=("a", "b"), **card)
    program = b'. /dev/stdin\nprintf "%s|" "$addresses" "$gateways" "${resolver% *}" "${resolver#* }" "$resolv_conf" "$unwanted"\n'
    done = subprocess.run(["sh", "-c", program], input=script(settings), capture_output=True, check=True)
    told = done.stdout.decode().split("|")
    assert told[:4] == ["10.0.0.2/8 fd00::2/64", "10.0.0.1", "169.254.0.1", "02:00:00:00:00:01"]
    assert told[4:] == ["nameserver 1.1.1.1\nsearch it's\n", "a b", ""]


def test_a_run_brings_the_first_process_of_this_version() -> None:
    found = unpack(overlay(GuestSettings()))
    assert found[b"init"].data == (GUEST / "init").read_bytes()
    assert found[b"init"].mode & 0o777 == 0o755
    assert [name for name, entry in found.items() if stat.S_ISFIFO(entry.mode)] == [b"gasang/stdin", b"gasang/stdout", b"gasang/stderr"]


def test_an_agent_is_brought_where_there_is_one() -> None:
    found = unpack(overlay(GuestSettings(), b"its program"))
    assert (found[b"gasang/agent"].data, found[b"gasang/agent"].mode & 0o777) == (b"its program", 0o700)
    assert found[b"gasang/settings"].data.startswith(b"agent=1\n")
    without = unpack(overlay(GuestSettings()))
    assert b"gasang/agent" not in without
    assert without[b"gasang/settings"].data.startswith(b"agent=\n")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (GuestSettings(command=("a\0b",)), "holds a zero byte"),
        (GuestSettings(environment=("=x",)), "it has no name or no value"),
        (GuestSettings(environment=("NAME",)), "it has no name or no value"),
        (GuestSettings(hostname="a; reboot"), "host name 'a; reboot'"),
        (GuestSettings(hostname=""), "host name"),
        (GuestSettings(root="$(x)"), "root device"),
        (GuestSettings(device="a b"), "terminal"),
    ],
)
def test_what_cannot_be_is_told(settings: GuestSettings, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(").replace("$", r"\$")):
        overlay(settings)


@pytest.mark.parametrize("name", ["init", "configure"])
@pytest.mark.parametrize("shell", ["sh", "dash", "busybox"])
def test_the_guests_scripts_are_shell(name: str, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([*([shell, "sh"] if shell == "busybox" else [shell]), "-n", GUEST / name], check=True)
