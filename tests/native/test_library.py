"""Libraries: kept under what their sources say, whole or not at all, and loaded without what made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gasang.native
from gasang.native import Fault, loading, native, ptr, u8, u64
from gasang.native import library as library_module
from gasang.native.build import emit_object
from gasang.native.cache import ObjectCache
from gasang.native.image import Image
from gasang.native.library import Library, Parts, load_library, sources


@native
def triple(x: u64) -> u64:
    return x * 3


@native(may_fault=True)
def checked(p: ptr[u8], x: u64) -> u8:
    if x > 3:
        raise Fault
    return p[x]


@native
def nothing() -> None:
    pass


class Folder:
    """A folder of sources, a cache, and how often the library was made of them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "sources"
        self.path.mkdir()
        self.write("one")
        self.cache = ObjectCache(folder / "cache")
        self.made = 0

    def write(self, text: str) -> None:
        (self.path / "source.py").write_text(text)

    def load(self) -> Library:
        return load_library("library", [str(self.path)], self._make, self.cache)

    def _make(self) -> Parts:
        self.made += 1
        data = {"name": (self.path / "source.py").read_bytes(), "lines": b"\n\nentry x\n\n", "none": b""}
        return Parts([triple, checked, nothing], {"t": [triple, checked], "empty": []}, data)

    def entries(self) -> list[Path]:
        return [path for path in self.cache.directory.rglob("*") if path.is_file()]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def works(library: Library) -> bool:
    with pytest.raises(Fault):
        library.functions["checked"](0, 4)
    with pytest.raises(TypeError, match="triple takes 1 argument, 2 given"):
        library.functions["triple"](1, 2)
    memory = (gasang.native.ctype_of(u8) * 4)(5, 6, 7, 8)
    assert library.functions["nothing"]() is None
    assert {name: len(rows) for name, rows in library.tables.items()} == {"t": 2, "empty": 0}
    assert library.data["lines"] == b"\n\nentry x\n\n"
    assert library.data["none"] == b""
    return [library.functions["triple"](5), library.functions["checked"](memory, 2)] == [15, 7]


def test_a_library_is_keyed_by_its_sources(folder: Folder) -> None:
    for text, made in (("one", 1), ("one", 1), ("two", 2), ("one", 2)):
        folder.write(text)
        library = folder.load()
        assert works(library)
        assert library.data["name"] == text.encode()
        assert folder.made == made


def test_a_new_file_and_a_new_name_are_other_sources(folder: Folder) -> None:
    before = sources([str(folder.path)])
    (folder.path / "note.txt").write_text("is no source")
    assert sources([str(folder.path)]) == before
    (folder.path / "more.py").write_text("")
    more = sources([str(folder.path)])
    (folder.path / "more.py").rename(folder.path / "less.py")
    assert len({tuple(before), tuple(more), tuple(sources([str(folder.path)]))}) == 3


@pytest.mark.parametrize("place", [0, 10, 40, 60, 200, -1])
def test_a_damaged_entry_is_made_anew(folder: Folder, place: int) -> None:
    folder.load()
    [entry] = folder.entries()
    sound = entry.read_bytes()
    raw = bytearray(sound)
    raw[place] ^= 1
    entry.write_bytes(raw)
    assert works(folder.load())
    assert folder.made == 2
    assert entry.read_bytes() == sound


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"",
        lambda raw: raw.replace(b"\n\n", b"\n", 1),
        lambda raw: b"entry triple u64 returns wide\n\n" + raw.partition(b"\n\n")[2],
        lambda raw: raw.replace(b"data name 3", b"data name 4", 1),
        lambda raw: raw.replace(b"data none 0", b"data none 99999999", 1),
        lambda raw: raw.replace(b"table t 2", b"table t", 1),
        lambda raw: raw.replace(b"table t 2", b"table t 99999", 1),
        lambda raw: raw.replace(b"table t 2", b"table u 2", 1),
        lambda raw: raw.replace(b"table t 2", b"chair t 2", 1),
        lambda raw: raw[:-5000],
        lambda raw: raw.replace(b"code ", b"gode "),
    ],
)  # fmt: skip
def test_an_entry_that_does_not_fit_together_is_made_anew(folder: Folder, spoil: Any) -> None:
    """Though its checksum is right: another program may have stored it."""
    folder.load()
    [entry] = folder.entries()
    raw = folder.cache.load(entry.name)
    assert raw is not None
    assert spoil(raw) != raw
    folder.cache.store(entry.name, spoil(raw))
    assert works(folder.load())
    assert folder.made == 2


def test_an_entry_that_calls_a_stranger_is_made_anew(folder: Folder) -> None:
    folder.load()
    [entry] = folder.entries()
    raw = folder.cache.load(entry.name)
    assert raw is not None
    text = "declare i64 @stranger()\ndefine i64 @entry0() {\n %r = call i64 @stranger()\n %s = add i64 %r, 1\n ret i64 %s\n}"
    for spoilt in (emit_object([text], 2), Image(bytes(4096), 4096, {"entry0": 0}, {8: "stranger"}, ()).pack()):
        folder.cache.store(entry.name, b"entry triple u64 returns u64\n\n" + spoilt)
        assert works(folder.load())
        assert folder.cache.load(entry.name) == raw
    assert folder.made == 3


def test_a_host_where_llvm_links(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "can_make_code", lambda: False)
    assert works(folder.load())
    assert works(folder.load())
    [entry] = folder.entries()
    assert b"\x7fELF" in (folder.cache.load(entry.name) or b"")
    assert folder.made == 1


@given(st.one_of(st.binary(max_size=100), st.text(alphabet="entry tabldux64\n 0123456789-", max_size=60).map(str.encode)))
def test_any_bytes_are_an_index_or_a_value_error(raw: bytes) -> None:
    try:
        borders, tables, data, rest = library_module._index(raw)
    except ValueError:
        return
    assert raw.endswith(b"\n\n" + rest)
    assert len(borders) + len(tables) + len(data) >= 1
