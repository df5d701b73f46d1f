"""Building plans: what the buffer holds, whatever was put in."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.host.syscalls import native_table
from gasang.kinds.container import layout
from gasang.kinds.container.plan import Offset, Plan
from gasang.native import ctype_of

HEADER, OPERATION = ctype_of(layout.Header), ctype_of(layout.Operation)


def text_at(data: bytes, header: ctypes.Structure, place: int) -> bytes:
    at = header.data.offset + place
    return data[at : data.index(b"\0", at)]


def test_operations_are_records_in_order() -> None:
    plan = Plan()
    slot = plan.slot()
    plan.child.call("close", 7, what="close seven", into=slot, ignore=[9], skip_ignored=2)
    plan.child.do(layout.WAIT, slot, plan.text("abc"), -1, what="wait")
    plan.parent.call("getpid", what="ask")
    built = plan.build(5)
    header = HEADER.from_buffer_copy(built.data)
    assert (header.magic, header.size, header.flags, header.joined) == (layout.MAGIC, len(built.data), 5, 0)
    assert [part.count for part in header.lists] == [0, 2, 1]
    first = OPERATION.from_buffer_copy(built.data, header.lists[1].offset)
    second = OPERATION.from_buffer_copy(built.data, header.lists[1].offset + ctypes.sizeof(OPERATION))
    assert (first.code, first.number, first.kinds, first.result) == (layout.SYSCALL, native_table()["close"], 0, slot)
    assert (list(first.ignore), first.skip_done, first.skip_ignored, first.args[0]) == ([9, 0], 0, 2, 7)
    assert second.kinds == layout.SLOT | layout.OFFSET << 4
    assert text_at(built.data, header, second.args[1]) == b"abc"
    assert second.args[2] == (1 << 64) - 1
    phrases = [built.phrase(which, index) for which, index in ((1, 0), (1, 1), (2, 0), (3, 0))]
    assert phrases == ["close seven", "wait", "ask", "create the process"]


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20), max_size=8))
def test_texts_and_arrays_of_their_addresses(texts: list[str]) -> None:
    plan = Plan()
    array = plan.pointers(texts)
    plan.child.call("getpid", array, what="x")
    built = plan.build(0)
    header = HEADER.from_buffer_copy(built.data)
    relocations = {}
    for index in range(header.relocations.count):
        at = header.relocations.offset + 8 * index
        place, target = int.from_bytes(built.data[at : at + 4], "little"), int.from_bytes(built.data[at + 4 : at + 8], "little")
        relocations[place] = text_at(built.data, header, target)
    assert [relocations[array + 8 * index].decode() for index in range(len(texts))] == texts
    end = header.data.offset + array + 8 * len(texts)
    assert built.data[end : end + 8] == bytes(8)


def test_equal_texts_share_a_place_and_rooms_do_not() -> None:
    plan = Plan()
    assert plan.text("same") == plan.text("same")
    assert plan.room("same", 10) != plan.room("same", 10)
    assert isinstance(plan.blob(b"x"), Offset)
    assert plan.blob(b"y") % 8 == 0


def test_a_text_with_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        Plan().text("a\0b")


def test_a_plan_is_short() -> None:
    """Words that are shared stay small: the memory of a waiting container is its plan's."""
    plan = Plan()
    for _ in range(300):
        plan.child.call("close", 1, what="x")
    assert len(plan.build(0).data) < 50_000
