"""A Dockerfile read into instructions."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import UsageError
from gasang.daemon.build.dockerfile import parse


def names(text: str) -> list[tuple[str, str]]:
    return [(step.name, step.text) for step in parse(text.encode()).instructions]


def test_continued_lines_comments_and_cases() -> None:
    text = '# note\nfrom debian:12 as base\n\nRUN apt-get update && \\\n# in between\n    apt-get install \\\n\n  vim\nCMD ["a", "b c"]\n'
    assert names(text) == [
        ("FROM", "debian:12 as base"),
        ("RUN", "apt-get update &&     apt-get install   vim"),
        ("CMD", '["a", "b c"]'),
    ]
    assert parse(text.encode()).instructions[2].words == ("a", "b c")
    assert [step.line for step in parse(text.encode()).instructions] == [2, 4, 9]


def test_the_escape_directive() -> None:
    file = parse(b"# escape=`\nFROM x\nRUN dir `\n c:\\\n")
    assert file.escape == "`"
    assert file.instructions[1].text == "dir  c:\\"
    with pytest.raises(UsageError, match="must be"):
        parse(b"# escape=x\nFROM y\n")


def test_flags() -> None:
    (step,) = parse(b"COPY --from=build --chown=1:2 --chmod=755 a b /c/\n").instructions
    assert step.flags == {"from": "build", "chown": "1:2", "chmod": "755"}
    assert step.text == "a b /c/"
    with pytest.raises(UsageError, match=r"unknown flag: mount.*BuildKit"):
        parse(b"FROM x\nRUN --mount=type=cache,target=/c true\n")
    with pytest.raises(UsageError, match="missing a value"):
        parse(b"FROM x\nCOPY --from a b\n")


def test_texts_that_stand_in_the_file() -> None:
    file = parse(b"FROM x\nRUN <<EOF\necho a\n  echo $b\nEOF\nCOPY <<-'X' /y\n\t\tz\n\tX\nCMD a\n")
    run, copy, command = file.instructions[1:]
    assert run.heredocs[0].content == "echo a\n  echo $b\n"
    assert (copy.heredocs[0].content, copy.heredocs[0].expand) == ("z\n", False)
    assert command.name == "CMD"
    with pytest.raises(UsageError, match="does not end"):
        parse(b"FROM x\nRUN <<EOF\necho\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no instructions"),
        ("# only a comment\n", "no instructions"),
        ("FROM x\nRUNN y\n", "line 2: unknown instruction: RUNN"),
        ("FROM x\nRUN\n", "requires at least one argument"),
        ("FROM x\nSHELL /bin/sh\n", "JSON form"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse(text.encode())


def test_what_is_no_list_of_texts_is_the_shell_form() -> None:
    step = parse(b'RUN ["a", 1]\n').instructions[0]
    assert step.words is None
    assert step.text == '["a", 1]'


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with suppress(UsageError):
        parse(raw)


@given(st.text(alphabet="FROMRUNCOPY $\\{}[]\"'<>-=#\n\t abc", max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(UsageError):
        parse(text.encode())
