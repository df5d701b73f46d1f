"""Images as bytes: what was packed comes back, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.native.image import Image, unpack

IMAGE = Image(bytes(range(256)) * 16, 1024, {"entry0": 0, "table.one two": 2048}, {16: "memset", 4088: "a name"}, (8, 2048, 4080))


@st.composite
def images(draw: st.DrawFn) -> Image:
    content = draw(st.binary(min_size=8, max_size=64))
    words = st.integers(0, len(content) - 8)
    names = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1, max_size=8)
    symbols = draw(st.dictionaries(names, st.integers(0, len(content)), max_size=3))
    hosts = draw(st.dictionaries(words, names, max_size=3))
    return Image(content, draw(st.integers(0, len(content))), symbols, hosts, tuple(draw(st.lists(words, max_size=4))))


@given(images())
def test_what_was_packed_comes_back(image: Image) -> None:
    assert unpack(image.pack()) == image


def test_what_is_filled_in() -> None:
    placed = IMAGE.at(0x1000_0000, {"memset": 0x1122, "a name": 2**64 - 1})
    assert placed[16:24] == (0x1122).to_bytes(8, "little")
    assert placed[4088:] == b"\xff" * 8
    assert int.from_bytes(placed[8:16], "little") - int.from_bytes(IMAGE.content[8:16], "little") == 0x1000_0000
    assert placed[24:2048] == IMAGE.content[24:2048]


def test_addresses_wrap() -> None:
    assert Image(b"\xff" * 8, 0, {}, {}, (0,)).at(2, {}) == b"\1" + bytes(7)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"code 1024", b"code 9999"),
        (b"code 1024", b"code -1"),
        (b"code 1024\n", b""),
        (b"code 1024", b"kode 1024"),
        (b"absolute 3", b"absolute -3"),
        (b"absolute 3", b"absolute 99999999999999999999"),
        (b"absolute 3", b"absolute 4000"),
        (b"absolute 3", b"absolute three"),
        (b"table.one two 2048", b"table.one two 4097"),
        (b"table.one two 2048", b"table.one two -1"),
        (b"a name 4088", b"a name 4089"),
        (b"a name 4088", b"a name -1"),
        (b"\xf0\x0f\0\0", b"\xf9\x0f\0\0"),
        (b"code", b"\xff\xff"),
    ],
)
def test_what_does_not_fit_together(old: bytes, new: bytes) -> None:
    raw = IMAGE.pack()
    assert old in raw
    with pytest.raises(ValueError, match=r"."):
        unpack(raw.replace(old, new, 1))


@given(st.data())
def test_what_is_cut_off_or_changed_stays_inside_itself(data: st.DataObject) -> None:
    raw = bytearray(IMAGE.pack())
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, 140))] = data.draw(st.integers(0, 255))
    del raw[data.draw(st.integers(0, len(raw))) :]
    try:
        image = unpack(bytes(raw))
    except ValueError:
        return
    assert len(image.at(0, dict.fromkeys(image.hosts.values(), 0))) == len(image.content)
