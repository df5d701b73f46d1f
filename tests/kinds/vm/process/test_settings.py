"""Settings of machines: they come back from the file, and what cannot be is refused by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, UsageError
from gasang.kinds.vm.card import Card
from gasang.kinds.vm.process.settings import NAME, MachineSettings

WHOLE: dict[str, Any] = {
    "cpus": 2, "memory": 1 << 30, "image": "debian:trixie", "command": ["a", "b c"], "environment": ["A=ä"], "tty": True,
    "disks": [["/a/disk", True]], "hostname": "web", "stop_signal": 3, "jit": "on",
    "network": {"mac": "02:00:00:00:00:01", "addresses": ["10.0.0.2/8"], "gateways": ["10.0.0.1"], "mtu": 1400},
}  # fmt: skip


def test_they_come_back_from_the_file(tmp_path: Path) -> None:
    made = MachineSettings.of_document(WHOLE)
    made.write(tmp_path)
    assert MachineSettings.read(tmp_path) == made
    assert made.disks == (("/a/disk", True),)
    assert made.command == ("a", "b c")
    assert made.network == Card("02:00:00:00:00:01", ("10.0.0.2/8",), ("10.0.0.1",), mtu=1400)


def test_bytes_that_are_no_text_come_back(tmp_path: Path) -> None:
    made = MachineSettings(kernel="/a/\udcff")
    made.write(tmp_path)
    assert MachineSettings.read(tmp_path).kernel == "/a/\udcff"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cpus", 0), ("cpus", True), ("cpus", "1"), ("cpus", 10_000), ("memory", 1 << 20), ("memory", 1 << 60), ("memory", 1e9),
        ("image", 5), ("image", "a\0b"), ("kernel", "relative"), ("initrd", None), ("command", "word"), ("command", [1]),
        ("environment", {"A": "b"}), ("tty", 1), ("disks", [["/a"]]), ("disks", [["", True]]), ("disks", [["/a", "no"]]),
        ("folders", [["/a", "/b"]]), ("folders", [["a", "/b", True]]), ("folders", [["/a", "/b", 1]]),
        ("jit", "maybe"), ("jit", True),
        ("snapshot", "base"), ("colour", "red"), ("stop_signal", 0), ("stop_signal", "TERM"), ("network", []), ("network", {}),
        ("network", {"mac": 5}), ("network", {"mac": "02:00:00:00:00:01", "mtu": "1"}), ("network", {"mac": "odd"}),
        ("network", {"mac": "02:00:00:00:00:01", "addresses": "10.0.0.1/8"}), ("network", {"mac": "02:00:00:00:00:01", "colour": "red"}),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_its_name(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=name):
        MachineSettings.of_document({**WHOLE, name: value})


@pytest.mark.parametrize("target", ["relative", "/", "/a/../b", "/a ", "/a\n"])
def test_targets_of_folders_that_no_guest_could_mount(target: str) -> None:
    with pytest.raises(UsageError, match="mount target"):
        MachineSettings.of_document({**WHOLE, "folders": [["/a", target, False]]})


def test_a_kernel_has_no_network_card() -> None:
    with pytest.raises(UsageError, match="only an image has a network card"):
        MachineSettings.of_document({"kernel": "/a", "network": WHOLE["network"]})


def test_a_kernel_mounts_no_folders() -> None:
    with pytest.raises(UsageError, match="only an image"):
        MachineSettings.of_document({"kernel": "/a", "folders": [["/a", "/b", True]]})


@pytest.mark.parametrize("both", [{}, {"image": "debian:trixie", "kernel": "/a"}])
def test_it_needs_an_image_or_a_kernel(both: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="one of the two"):
        MachineSettings.of_document(both)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 50_000])
def test_a_damaged_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(BadInputError, match="make it anew"):
        MachineSettings.read(tmp_path)


@given(
    document=st.dictionaries(
        st.sampled_from([*WHOLE, "kernel", "initrd", "append", "stdin", "snapshot", "odd"]),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.text(max_size=5),
            st.lists(st.one_of(st.text(max_size=3), st.integers()), max_size=3),
        ),
        max_size=5,
    )
)
def test_no_document_breaks_it(document: dict[str, Any]) -> None:
    try:
        made = MachineSettings.of_document(document)
    except UsageError:
        return
    assert bool(made.image) != bool(made.kernel)
