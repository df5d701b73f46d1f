"""The home in a passwd file, compiled and as plain Python."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.kinds.container.home import LONGEST_HOME, home_in


def home(text: bytes, uid: int, *, plain: bool = False) -> str:
    place = ctypes.create_string_buffer(LONGEST_HOME + 1)
    call = home_in.python if plain else home_in
    length = call(ctypes.create_string_buffer(text, max(1, len(text))), len(text), uid, place)
    assert len(place.value) == length
    return place.value.decode(errors="replace")


LINES = b"root:x:0:0:root:/root:/bin/sh\n\nshort:x\nuser:x:1000:100:A User,,,:/home/user:/bin/bash\nagain:x:1000:1::/other:\n"


@pytest.mark.parametrize("plain", [True, False])
def test_the_first_line_of_a_user_counts(plain: bool) -> None:
    assert home(LINES, 0, plain=plain) == "/root"
    assert home(LINES, 1000, plain=plain) == "/home/user"
    assert home(LINES, 100, plain=plain) == ""
    assert home(b"", 0, plain=plain) == ""
    assert home(b"x:x:5:5::" + b"/" * 300 + b":\n", 5, plain=plain) == ""
    assert home(b"x:x:-5:5::/a:\nx:x:99999999999:5::/a:\n", 5, plain=plain) == ""


@settings(max_examples=100)
@given(st.binary(max_size=80), st.integers(0, 20))
def test_any_file_is_read_alike(text: bytes, uid: int) -> None:
    assert home(text, uid) == home(text, uid, plain=True)
