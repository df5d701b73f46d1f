"""Dependencies: everything needed, nothing more, in an order that can be installed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError, NotFoundError
from gasang.images.packages import Index
from gasang.images.resolve import resolve


def names(wanted: list[str], *blocks: str) -> list[str]:
    text = "\n".join(f"Package: {block}\n" if "\n" in block else f"Package: {block}\nVersion: 1\n" for block in blocks)
    return [package.name for package in resolve(Index(text, "x"), wanted)]


def test_dependencies_come_first() -> None:
    assert names(["a"], "a\nDepends: b, c", "b\nPre-Depends: d", "c\nDepends: d", "d", "unused") == ["d", "b", "c", "a"]


def test_recommendations_are_left_out() -> None:
    assert names(["a"], "a\nRecommends: b\nSuggests: c", "b", "c") == ["a"]


def test_the_first_alternative_that_can_be_met() -> None:
    assert names(["a"], "a\nDepends: missing | b (>= 2) | c", "b", "c") == ["c", "a"]


def test_an_alternative_that_is_there_already() -> None:
    assert names(["a", "c"], "a\nDepends: b | c", "b", "c") == ["c", "a"]


def test_a_provided_name() -> None:
    assert names(["a"], "a\nDepends: mail", "postfix\nProvides: mail") == ["postfix", "a"]


def test_a_real_package_before_one_that_provides_its_name() -> None:
    assert names(["a"], "a\nDepends: mail", "fake\nProvides: mail", "mail") == ["mail", "a"]


def test_versions_of_provided_names() -> None:
    blocks = ("none\nProvides: mail", "old\nProvides: mail (= 1)", "new\nProvides: mail (= 3)")
    assert names(["a"], "a\nDepends: mail (>= 2)", *blocks) == ["new", "a"]
    with pytest.raises(NotFoundError, match=r"package mail \(>> 3\): package a needs it, and the archive has none such"):
        names(["a"], "a\nDepends: mail (>> 3)", *blocks)


def test_circles_are_cut() -> None:
    assert sorted(names(["a"], "a\nDepends: b", "b\nDepends: c", "c\nDepends: a, b")) == ["a", "b", "c"]


def test_what_is_missing_is_told() -> None:
    with pytest.raises(NotFoundError, match="package nothing: the image needs it"):
        names(["nothing"], "a")


@pytest.mark.parametrize("field", ["Conflicts", "Breaks"])
def test_what_excludes_each_other_is_told(field: str) -> None:
    with pytest.raises(BadInputError, match="package a: it cannot be installed beside b"):
        names(["a", "b"], f"a\nVersion: 1\n{field}: b (<< 2)", "b")
    assert names(["a", "b"], f"a\nVersion: 1\n{field}: b (<< 1)", "b") == ["a", "b"]


def test_a_package_may_exclude_others_of_its_own_kind() -> None:
    assert names(["a"], "a\nProvides: mail\nConflicts: mail", "b\nProvides: mail") == ["a"]
    with pytest.raises(BadInputError, match="beside b"):
        names(["a", "b"], "a\nProvides: mail\nConflicts: mail", "b\nProvides: mail")


GRAPHS = st.dictionaries(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=4), max_size=10)


@given(GRAPHS, st.lists(st.integers(0, 9), max_size=3))
def test_any_graph_without_circles_is_ordered_and_closed(graph: dict[int, list[int]], wanted: list[int]) -> None:
    down = {node: sorted({need for need in graph.get(node, []) if need < node}) for node in range(10)}
    blocks = [f"p{node}\nDepends: " + ", ".join(f"p{need}" for need in needs) if needs else f"p{node}" for node, needs in down.items()]
    found = names([f"p{node}" for node in wanted], *blocks)
    place = {name: number for number, name in enumerate(found)}
    assert {f"p{node}" for node in wanted} <= set(found)
    assert len(place) == len(found)
    reachable = set(wanted)
    for node in range(9, -1, -1):
        reachable |= set(down[node]) if node in reachable else set()
        if f"p{node}" in place:
            assert all(place[f"p{need}"] < place[f"p{node}"] for need in down[node])
    assert set(found) == {f"p{node}" for node in reachable}
