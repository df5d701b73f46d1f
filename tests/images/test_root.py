"""Roots: links are followed as the kernel would, nothing leaves the tree, parents come first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.images.root import Root
from gasang.storage.tree import Entry, Kind, encode


def folder(path: str, mode: int = 0o755) -> Entry:
    return Entry(path=path, kind=Kind.DIRECTORY, mode=mode)


def file(path: str, data: bytes = b"") -> Entry:
    return Entry(path=path, kind=Kind.FILE, data=data)


def link(path: str, target: str) -> Entry:
    return Entry(path=path, kind=Kind.SYMLINK, target=target)


def root_of(*entries: Entry) -> Root:
    root = Root()
    root.add_all(entries)
    return root


def paths(root: Root) -> list[str]:
    return [encode(entry.path).decode() for entry in root.entries()]


def test_a_file_below_a_link_goes_where_the_link_points() -> None:
    root = root_of(folder("usr"), folder("usr/bin"), link("bin", "usr/bin"), file("bin/sh"), folder("bin"))
    assert paths(root) == ["", "bin", "usr", "usr/bin", "usr/bin/sh"]
    assert "bin/sh" in root
    assert "bin/bash" not in root


@pytest.mark.parametrize("target", ["/usr/lib", "../../usr/lib", "usr/./lib", "usr/lib/../lib/", "/../../usr/lib"])
def test_targets_begin_at_the_root_and_never_leave_it(target: str) -> None:
    assert paths(root_of(folder("usr"), folder("usr/lib"), link("lib", target), file("lib/x")))[-1] == "usr/lib/x"


def test_missing_parents_are_made() -> None:
    assert [(entry.path, entry.mode) for entry in root_of(file("a/b/c")).entries()][:3] == [(b"", 0o755), (b"a", 0o755), (b"a/b", 0o755)]


def test_the_first_directory_stays_the_last_file_counts() -> None:
    root = root_of(folder("a", 0o700), folder("a", 0o755), file("a/f", b"1"), file("a/f", b"2"))
    found = {entry.path: entry for entry in root.entries()}
    assert (found[b"a"].mode, found[b"a/f"].data) == (0o700, b"2")


def test_hard_links_come_last_and_name_the_real_file() -> None:
    root = root_of(
        folder("usr/bin"), link("bin", "usr/bin"), Entry(path="bin/a", kind=Kind.HARDLINK, target="bin/z"), file("bin/z", b"x"), file("zz")
    )
    last = list(root.entries())[-1]
    assert (last.path, last.target) == (b"usr/bin/a", b"usr/bin/z")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ((file("a"), file("a/b")), "path /a/b: /a above it is no directory"),
        ((folder("a"), file("a")), "one package has a directory there"),
        ((folder("a"), link("a", "b")), "one package has a directory there"),
        ((link("a", "b"), link("b", "a"), file("a/x")), "its links go round in a circle"),
        ((link("a", "f"), file("f"), file("a/x")), "above it is no directory"),
    ],
)
def test_what_cannot_stand_together_is_told(entries: tuple[Entry, ...], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        root_of(*entries)


NAMES = st.sampled_from("abc")
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TARGETS = st.lists(st.sampled_from(["a", "b", "c", "..", ".", ""]), min_size=1, max_size=4).map("/".join).filter(bool)
ENTRIES = st.one_of(PATHS.map(folder), PATHS.map(file), st.builds(link, PATHS, TARGETS))


@given(st.lists(ENTRIES, max_size=12))
def test_any_root_is_a_tree(entries: list[Entry]) -> None:
    root = Root()
    for entry in entries:
        try:
            root.add(entry)
        except BadInputError:
            continue
    seen: set[bytes] = set()
    for entry in root.entries():
        path = encode(entry.path)
        assert path not in seen
        assert not path or path.rpartition(b"/")[0] in seen
        seen.add(path)
    kinds = {encode(entry.path): entry.kind for entry in root.entries()}
    assert all(kinds[path.rpartition(b"/")[0]] is Kind.DIRECTORY for path in seen if path)
