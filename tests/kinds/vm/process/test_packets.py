"""Packets: what is no request or answer is an error with a sentence, whatever it is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, GasangError, MachineDiedError, StateError, TimedOutError, UsageError
from gasang.kinds.vm.process import packets


def test_a_request_comes_back() -> None:
    assert packets.read_request(packets.request("snapshot", {"name": "one"})) == ("snapshot", {"name": "one"})


def test_an_answer_comes_back() -> None:
    assert packets.read_answer(packets.answer({"pid": 7}), "machine") == {"pid": 7}
    assert packets.read_answer(packets.answer(None), "machine") is None


@pytest.mark.parametrize("kind", [UsageError, StateError, TimedOutError, BadInputError, GasangError])
def test_an_error_comes_back_as_what_it_was(kind: type[GasangError]) -> None:
    with pytest.raises(kind) as caught:
        packets.read_answer(packets.refusal(kind("thing", "cause", "hint")), "machine")
    assert str(caught.value) == "thing: cause; hint"
    assert type(caught.value) is kind


def test_an_error_of_another_class_comes_as_the_nearest_that_is_known() -> None:
    with pytest.raises(GasangError) as caught:
        packets.read_answer(packets.refusal(MachineDiedError("machine", "it died")), "machine")
    assert type(caught.value) is GasangError


def test_the_longest_refusal_fits_into_a_packet() -> None:
    assert len(packets.refusal(GasangError("\x01" * 10_000, "\x01" * 10_000, "\x01" * 10_000))) < packets.MOST


ODD = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["do", "done", "failed", "x"]), inner, max_size=3),
    ).map(lambda value: json.dumps(value).encode()),
)


@given(packet=ODD)
def test_odd_requests_are_refused_or_have_a_verb(packet: bytes) -> None:
    try:
        verb, words = packets.read_request(packet)
    except UsageError:
        return
    assert isinstance(verb, str)
    assert "do" not in words


@given(packet=ODD)
def test_odd_answers_are_errors_or_values(packet: bytes) -> None:
    try:
        found = packets.read_answer(packet, "machine")
    except GasangError:
        return
    assert json.loads(packet)["done"] == found


def test_deep_nesting_is_no_request() -> None:
    with pytest.raises(UsageError, match="no JSON object"):
        packets.read_request(b"[" * 50_000)
