from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.cli.output import Column, colours_wanted, printable, render
from gasang.core.errors import UsageError
from gasang.core.units import format_size

COLUMNS = (Column("name", "NAME"), Column("size", "SIZE", format_size), Column("digest", ""))
ROWS = [{"name": "debian:trixie", "size": 3 << 30, "digest": "sha256:ab"}, {"name": "b", "size": 5, "digest": "sha256:cd"}]


def test_a_table_shows_titles_and_values_for_people() -> None:
    assert render(None, COLUMNS, ROWS) == "NAME            SIZE\ndebian:trixie   3 GiB\nb               5 B\n"


def test_json_is_one_array_of_values_for_programs() -> None:
    assert json.loads(render("json", COLUMNS, ROWS)) == ROWS
    assert json.loads(render("json", COLUMNS, [])) == []


def test_json_lines_are_one_object_a_line() -> None:
    assert [json.loads(line) for line in render("jsonl", COLUMNS, ROWS).splitlines()] == ROWS


def test_names_are_the_first_column() -> None:
    assert render("name", COLUMNS, ROWS) == "debian:trixie\nb\n"


def test_a_template_takes_fields_braces_and_tabs() -> None:
    assert render("{name}\\t{size} {{}}", COLUMNS, ROWS) == "debian:trixie\t3221225472 {}\nb\t5 {}\n"


@pytest.mark.parametrize("form", ["jsn", "{", "{nme}", "{name.__class__}", "{name!r}", "{name:>9}", "{}", "{0}", "}"])
def test_other_formats_are_refused_by_name(form: str) -> None:
    with pytest.raises(UsageError) as caught:
        render(form, COLUMNS, ROWS)
    assert caught.value.subject == f"--format {form!r}"


@given(st.text(min_size=1), st.text())
def test_no_value_moves_the_cursor(form: str, name: str) -> None:
    rows = [{"name": name, "size": 1, "digest": ""}]
    for chosen in ("table", "name", "{name}"):
        assert all(sign.isprintable() or sign == "\n" for sign in render(chosen, COLUMNS, rows))
    assert json.loads(render("json", COLUMNS, rows)) == rows
    with suppress(UsageError):
        render(form, COLUMNS, rows)


def test_control_characters_are_shown() -> None:
    assert printable("a\x1b[2J\n") == "a\\x1b[2J\\n"


@pytest.mark.parametrize(
    ("environment", "terminal", "wanted"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_colours(environment: dict[str, str], terminal: bool, wanted: bool) -> None:
    assert colours_wanted(environment, terminal) is wanted
