"""From the words of a command line to values, by a verb's Syntax.

Rules: options may stand before and after the arguments, as ``--name value``, ``--name=value``, ``-nvalue`` or, for
switches, bundled as ``-it``; ``--switch=false`` takes a switch back. ``--`` ends them. Where a verb takes a command, the command
starts at ``--`` or at the first word that is no option after the arguments, or right after them where the verb says so; from there
on every word is the command's own. Long options are never abbreviated: a script must not change its meaning when an option is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gasang.cli.options import HELP, Option, Parsed, Syntax
from gasang.core.config import parse_boolean
from gasang.core.errors import UsageError


def nearest(word: str, choices: Sequence[str]) -> str:
    """The choice most like `word`, or "" where none is."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, choices, n=1, cutoff=0.6)), "")


def parse(verb: str, syntax: Syntax, words: Sequence[str]) -> Parsed:
    """The values that `words` give; raise UsageError, about the word at fault, if they do not fit `syntax`."""
    reader = _Reader(verb, syntax, list(words))
    reader.read()
    if HELP.name in reader.texts:
        reader.texts = {HELP.name: [""]}  # who asks for help is not told of missing or wrong values
    else:
        reader.check_arguments()
    values: dict[str, Any] = {option.name: option.read(tuple(reader.texts.get(option.name, ()))) for option in syntax.options}
    return Parsed(verb, values, tuple(reader.arguments), tuple(reader.command))


class _Reader:
    """Sorts words into options' texts, arguments and the command."""

    def __init__(self, verb: str, syntax: Syntax, words: list[str]) -> None:
        self._verb = verb
        self._syntax = syntax
        self._words = words
        self._long = {option.flag: option for option in syntax.options}
        self._short = {f"-{option.short}": option for option in syntax.options if option.short}
        self._most = None if any(a.repeated for a in syntax.arguments) else len(syntax.arguments)
        self.texts: dict[str, list[str]] = {}
        self.arguments: list[str] = []
        self.command: list[str] = []

    def read(self) -> None:
        """Sort all the words."""
        while self._words:
            word = self._words.pop(0)
            if word == "--":
                self._rest()
            elif word.startswith("--"):
                self._long_option(word)
            elif word.startswith("-") and word != "-":
                self._short_options(word)
            else:
                self._argument(word)

    def _rest(self) -> None:
        """Take everything after ``--``: the command where the verb has one, else arguments."""
        rest, self._words = self._words, []
        if self._syntax.command:
            self.command = rest
        else:
            for word in rest:
                self._argument(word)

    def _argument(self, word: str) -> None:
        if self._most is None or len(self.arguments) < self._most:
            self.arguments.append(word)
            if len(self.arguments) == self._most and self._syntax.command and self._syntax.closes(self.texts):
                self.command, self._words = self._words[1:] if self._words[:1] == ["--"] else self._words, []
        elif self._syntax.command:
            self.command, self._words = [word, *self._words], []
        else:
            raise UsageError(f"argument {word!r}", f"gasang {self._verb} takes no such argument", self._see_help())

    def _long_option(self, word: str) -> None:
        name, equals, text = word.partition("=")
        option = self._long.get(name)
        if option is None:
            raise self._unknown(name)
        if equals and not option.takes_value:
            self._switch(option, parse_boolean(text, f"option {name}"))
        else:
            self._take(option, name, text if equals else None)

    def _switch(self, option: Option[Any], on: bool) -> None:
        """``--name=true`` is ``--name``; ``--name=false`` takes it back."""
        self.texts.pop(option.name, None)
        if on:
            self.texts[option.name] = [""]

    def _short_options(self, word: str) -> None:
        flag, rest = word[:2], word[2:]
        option = self._short.get(flag)
        if option is None:
            raise self._unknown(flag if len(word) == 2 else word)
        if option.takes_value:
            self._take(option, flag, rest.removeprefix("=") if rest else None)
            return
        self._take(option, flag, None)
        if rest:
            self._short_options(f"-{rest}")

    def _take(self, option: Option[Any], written: str, text: str | None) -> None:
        if option.takes_value and text is None:
            if not self._words:
                raise UsageError(f"option {written}", "its value is missing", f"write {written} {option.placeholder}")
            text = self._words.pop(0)
        self.texts.setdefault(option.name, []).append(text or "")

    def _unknown(self, flag: str) -> UsageError:
        guess = nearest(flag, [*self._long, *self._short])
        hint = f"did you mean {guess}?" if guess else self._see_help()
        return UsageError(f"option {flag}", f"gasang {self._verb} has no such option", hint)

    def _see_help(self) -> str:
        return f"see gasang {self._verb} --help"

    def check_arguments(self) -> None:
        """Raise UsageError if a required argument is missing or names nothing."""
        for argument in self._syntax.arguments[len(self.arguments) :]:
            if argument.required:
                raise UsageError(f"gasang {self._verb}", f"{argument.name} is missing", self._see_help())
        for word in self.arguments:
            if not word or "\0" in word:
                raise UsageError(f"gasang {self._verb}", f"the argument {word!r} names nothing", self._see_help())
