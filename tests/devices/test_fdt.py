"""Device trees: what dtc makes of ours, and what our reader makes of anything."""

from __future__ import annotations

import shutil
import struct
import subprocess
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.devices.fdt import HEADER, Node, Value, as_properties, cells, decode, encode, reg, text

SAMPLE = Node(
    "",
    {"#address-cells": 2, "compatible": ["one", "two"], "ranges": True, "empty": b"", "raw": b"\x01\x02\x03", "cells": [1, 0xFFFF_FFFF]},
    [Node("memory@80000000", {"device_type": "memory", "reg": reg((0x8000_0000, 1 << 40))}), Node("a", children=[Node("b", {"x": 0})])],
)

SOURCE = """/dts-v1/;
/memreserve/ 0x1000 0x2000;
/ {
    #address-cells = <2>; compatible = "one", "two"; ranges; empty; raw = [01 02 03]; cells = <1 0xffffffff>;
    memory@80000000 { device_type = "memory"; reg = <0 0x80000000 0x100 0>; };
    a { b { x = <0>; }; };
};
"""

needs_dtc = pytest.mark.skipif(shutil.which("dtc") is None, reason="dtc (device-tree-compiler) is not installed")


def dtc(source: str, target: str, data: bytes) -> bytes:
    return subprocess.run(["dtc", "-q", "-I", source, "-O", target], input=data, capture_output=True, check=True).stdout


@needs_dtc
def test_dtc_reads_the_same_tree_from_ours_as_from_source() -> None:
    ours = dtc("dtb", "dts", encode(SAMPLE, [(0x1000, 0x2000)]))
    assert ours == dtc("dtb", "dts", dtc("dts", "dtb", SOURCE.encode()))


@needs_dtc
def test_reads_what_dtc_writes() -> None:
    assert decode(dtc("dts", "dtb", SOURCE.encode())) == decode(encode(SAMPLE))


def test_the_header_is_that_of_the_specification() -> None:
    blob = encode(SAMPLE, boot_hart=3)
    fields = HEADER.unpack_from(blob)
    assert (fields[0], fields[1], fields[5], fields[6], fields[7]) == (0xD00DFEED, len(blob), 17, 16, 3)
    assert fields[4] % 8 == 0
    assert fields[2] % 4 == 0


def test_values_come_back() -> None:
    root = decode(encode(SAMPLE))
    assert text(root.properties["compatible"]) == ["one", "two"]
    assert cells(root.find("/memory@80000000").properties["reg"]) == [0, 0x8000_0000, 0x100, 0]
    assert cells(root.find("/a/b").properties["x"]) == [0]
    with pytest.raises(KeyError, match="nowhere"):
        root.find("/a/nowhere")


NAMES = st.text("abcdefghijklmnopqrstuvwxyz,-@0123456789", min_size=1, max_size=12)
VALUES: st.SearchStrategy[Value] = st.one_of(
    st.just(True),
    st.integers(0, 0xFFFF_FFFF),
    st.binary(max_size=20),
    st.lists(st.integers(0, 0xFFFF_FFFF), max_size=4),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
)
TREES = st.recursive(
    st.builds(Node, NAMES, st.dictionaries(NAMES, VALUES, max_size=3), st.just([])),
    lambda children: st.builds(Node, NAMES, st.dictionaries(NAMES, VALUES, max_size=3), st.lists(children, max_size=3)),
    max_leaves=8,
)


@given(TREES)
def test_a_decoded_tree_encodes_to_the_same_bytes(tree: Node) -> None:
    blob = encode(tree)
    assert encode(decode(blob)) == blob


@given(st.data())
def test_a_damaged_blob_is_refused_or_read_but_nothing_else(data: st.DataObject) -> None:
    blob = bytearray(encode(SAMPLE))
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(blob) - 1), st.integers(0, 255)), min_size=1, max_size=6)):
        blob[at] = byte
    blob = blob[: data.draw(st.integers(0, len(blob)))]
    with suppress(BadInputError):
        assert isinstance(decode(bytes(blob)), Node)


@given(st.binary(max_size=200))
def test_a_hostile_structure_is_refused_or_read(structure: bytes) -> None:
    blob = HEADER.pack(0xD00DFEED, 40 + len(structure) + 4, 40, 40 + len(structure), 40, 17, 16, 0, 4, len(structure))
    with suppress(BadInputError):
        assert isinstance(decode(blob + structure + b"abc\0"), Node)


def test_endless_nesting_is_refused() -> None:
    structure = struct.pack(">II", 1, 0) * 100
    blob = HEADER.pack(0xD00DFEED, 40 + len(structure), 40, 40 + len(structure), 40, 17, 16, 0, 0, len(structure)) + structure
    with pytest.raises(BadInputError, match="deeper"):
        decode(blob)


@pytest.mark.parametrize("value", [b"", b"abc", b"\xff\0", 5])
def test_text_that_is_none_is_refused(value: Value) -> None:
    with pytest.raises(BadInputError, match="text"):
        text(value)


@pytest.mark.parametrize("value", [b"abc", "abc"])
def test_cells_that_are_none_are_refused(value: Value) -> None:
    with pytest.raises(BadInputError, match="cells"):
        cells(value)


def test_absent_properties_are_left_out() -> None:
    assert as_properties({"a": 0, "b": None, "c": ""}) == {"a": 0, "c": ""}
