"""The order of extension names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.kinds.vm.isa_string import isa_string, ordered

OURS = ["i", "m", "a", "f", "d", "c", "zicbom", "zicboz", "zicntr", "zicsr", "zifencei", "zba", "zbb", "zbs", "sstc"]


def test_the_processor_we_announce() -> None:
    assert isa_string(OURS) == "rv64imafdc_zicbom_zicboz_zicntr_zicsr_zifencei_zba_zbb_zbs_sstc"


@given(st.permutations(OURS))
def test_the_order_given_does_not_matter(names: list[str]) -> None:
    assert ordered(names) == OURS


def test_categories_follow_the_single_letters() -> None:
    names = ["xours", "svinval", "smaia", "zvl128b", "zbb", "zca", "zdinx", "zfh", "zaamo", "zmmul", "zicsr", "h", "v", "b"]
    assert ordered(reversed(names)) == [
        "b",
        "v",
        "h",
        "zicsr",
        "zmmul",
        "zaamo",
        "zfh",
        "zdinx",
        "zca",
        "zbb",
        "zvl128b",
        "smaia",
        "svinval",
        "xours",
    ]


def test_names_are_lower_case_and_once() -> None:
    assert ordered(["Zba", "zba", "I"]) == ["i", "zba"]


@pytest.mark.parametrize("name", ["", "w", "foo", "z b", "zicsr_zba"])
def test_refuses_what_is_no_extension(name: str) -> None:
    with pytest.raises(ValueError, match="no RISC-V extension"):
        ordered([name])
