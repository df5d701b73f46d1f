"""Bytes with something wrong: what was sound before, and is cut off, changed, doubled or mixed up somewhere."""

from __future__ import annotations

from hypothesis import strategies as st

ODD = st.sampled_from(
    [b"\0", b"\xff", b"\xff" * 8, b"\0" * 8, b"\x7f\xff\xff\xff", b"\n", b"\n\n", b" ", b"-1", b"9" * 30, b"../", b"/", b":"]
)


@st.composite
def damaged(draw: st.DrawFn, sound: bytes) -> bytes:
    """`sound` with one to four faults."""
    data = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        if not data:
            break
        start = draw(st.integers(0, len(data) - 1))
        end = min(len(data), start + draw(st.integers(1, 16) | st.integers(1, len(data))))
        fault = draw(st.sampled_from(["flip", "cut", "drop", "odd", "double"]))
        if fault == "flip":
            data[start] ^= 1 << draw(st.integers(0, 7))
        elif fault == "cut":
            del data[start:]
        elif fault == "drop":
            del data[start:end]
        elif fault == "odd":
            odd = draw(ODD)
            data[start : start + len(odd)] = odd
        else:
            data[start:start] = data[start:end]
    return bytes(data)
