"""Every command line that a help page or a document shows is one that gasang takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

from gasang.cli.containers.family import resolved
from gasang.cli.options import Syntax
from gasang.cli.parse import parse
from gasang.cli.reference import all_verbs
from gasang.cli.standard import with_standard_options
from gasang.cli.table import VERBS, module_of
from gasang.core.errors import NotFoundError, UsageError

ROOT = Path(__file__).parents[2]
CODE = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
PAGES = ("README.md", "README.ko.md", "docs/containers.md")


def commands_in(line: str) -> Iterator[list[str]]:
    """The gasang commands of a shell's line, each as its words; an ellipsis stands for some word."""
    lexer = shlex.shlex(line.replace("$ gasang", "gasang").replace("…", "image"), posix=True, punctuation_chars="|&;()<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not re.fullmatch(r"[|&;()<>]+", word):
            words.append(word)
            continue
        if words[:1] == ["gasang"]:
            yield words[1:]
        words = []


def syntax_of(words: list[str]) -> tuple[str, Syntax, list[str]]:
    """The verb, what it accepts, and its words."""
    verb, *rest = words
    commands: Mapping[str, object] = getattr(import_module(module_of(verb)), "COMMANDS", {})
    if commands and rest and not rest[0].startswith("-"):
        syntax, _ = resolved(commands[rest[0]], rest[0])  # type: ignore[arg-type]
        return f"{verb} {rest[0]}", with_standard_options(syntax), rest[1:]
    return verb, with_standard_options(import_module(module_of(verb)).SYNTAX), rest


def shown() -> Iterator[tuple[str, str]]:
    for verb, syntax in all_verbs().items():
        yield from ((verb, example.command) for example in syntax.examples)
    for page in PAGES:
        lines = (line for block in CODE.findall((ROOT / page).read_text()) for line in block.splitlines())
        yield from ((page, line) for line in lines if line.removeprefix("$ ").startswith("gasang "))


@pytest.mark.parametrize(("where", "line"), list(shown()))
def test_a_command_that_is_shown_is_one(where: str, line: str) -> None:
    found = list(commands_in(line))
    assert found
    for words in found:
        assert words[0] in VERBS
        verb, syntax, rest = syntax_of(words)
        with suppress(NotFoundError):  # a file that an example names is not here
            parse(verb, syntax, rest)


def test_a_wrong_one_would_be_found() -> None:
    assert list(commands_in("gasang save a | gzip > b; echo $(gasang ps -aq)  # gasang nothing")) == [["save", "a"], ["ps", "-aq"]]
    verb, syntax, rest = syntax_of(["network", "create", "--frob"])
    with pytest.raises(UsageError, match="gasang network create has no such option"):
        parse(verb, syntax, rest)
