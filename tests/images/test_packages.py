"""Package indices: what a package says, and which ones there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.images.packages import Index, Relation, parse_relations

HASH = "0123456789abcdef" * 4


def index(*blocks: str) -> Index:
    return Index("\n".join(f"{block.rstrip()}\n" for block in blocks), "index x")


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("", []),
        ("a", [(Relation("a"),)]),
        ("libc6 (>= 2.38), b:any", [(Relation("libc6", ">=", "2.38"),), (Relation("b"),)]),
        ("a | b (<< 1:2~rc) | c,\n d", [(Relation("a"), Relation("b", "<<", "1:2~rc"), Relation("c")), (Relation("d"),)]),
        ("g++ (=1), x [amd64 !i386] <!nocheck>", [(Relation("g++", "=", "1"),), (Relation("x"),)]),
    ],
)
def test_relations(text: str, clauses: list[tuple[Relation, ...]]) -> None:
    assert parse_relations(text, "x") == clauses


@pytest.mark.parametrize("text", ["a (>= )", "a (~ 1)", "A", "a b", "a |", "|", "a (>= 1", "$(x)"])
def test_what_is_no_relation_is_told(text: str) -> None:
    with pytest.raises(BadInputError, match="is none"):
        parse_relations(text, "package x")


@given(st.text(max_size=40))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        parse_relations(text, "x")
    except BadInputError:
        return


def test_a_package_says() -> None:
    package = index(
        f"Package: a\nVersion: 1:2-3\nEssential: yes\nPriority: required\nInstalled-Size: 12\nPre-Depends: p\nDepends: d, e\n"
        f"Provides: virtual (= 2), other\nFilename: pool/main/a/a_1%3a2-3_all.deb\nSize: 77\nSHA256: {HASH}\n"
    ).get("a")
    assert package is not None
    assert (package.version, package.essential, package.priority, package.size, package.sha256) == ("1:2-3", True, "required", 77, HASH)
    assert package.installed_size == 12288
    assert [clause[0].name for clause in package.depends] == ["p", "d", "e"]
    assert package.provides == [Relation("virtual", "=", "2"), Relation("other")]
    assert package.filename == "pool/main/a/a_1%3a2-3_all.deb"


@pytest.mark.parametrize("field", ["filename", "size", "sha256"])
@pytest.mark.parametrize(
    "fields",
    [
        "",
        "Filename: ../../etc/passwd\nSize: -1\nSHA256: x",
        "Filename: /etc\nSize: 1e9\nSHA256: " + HASH[1:],
        "Filename: a/.b/c\nSize: a\nSHA256: Z",
    ],
)
def test_fields_that_name_files_are_checked(field: str, fields: str) -> None:
    package = index(f"Package: a\n{fields}").get("a")
    assert package is not None
    with pytest.raises(BadInputError, match=f"index entry of a: its field {field} is missing or damaged"):
        getattr(package, field)


def test_the_newest_version_counts() -> None:
    found = index("Package: a\nVersion: 1.9", "Package: a\nVersion: 1.10", "Package: a\nVersion: 1.2")
    assert [package.version for package in found] == ["1.10"]
    assert len(found) == 1


def test_providers_by_name() -> None:
    found = index("Package: a\nProvides: mail", "Package: b\nProvides: x, mail (= 1)", "Package: mail-doc\nDescription: Provides: mail")
    assert [package.name for package in found.providers("mail")] == ["a", "b"]
    assert found.providers("nothing") == []


def test_the_selection_of_a_minimal_system() -> None:
    found = index(
        "Package: z\nEssential: yes",
        "Package: a\nPriority: required",
        "Package: b\nPriority: important",
        "Package: c\nDescription: x\n Essential: yes",
    )
    assert found.selected(frozenset({"required"})) == ["a", "z"]
    assert found.selected(frozenset({"required", "important"})) == ["a", "b", "z"]


@pytest.mark.parametrize("text", ["Version: 1", "Package:", "<html></html>", "Package: \nVersion: 1"])
def test_an_index_that_is_none_is_told(text: str) -> None:
    with pytest.raises(BadInputError, match=r"index x: its entry .* names no package"):
        Index(text, "index x")


def test_a_package_with_one_line_only() -> None:
    assert len(Index("Package: a\nVersion: 1\n", "x")) == 1
