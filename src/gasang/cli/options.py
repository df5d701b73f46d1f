"""What a verb accepts, as data: options, arguments and examples.

From one description come the parser, the help page, the completion of three shells and the tests. A verb keeps each option
in a constant and reads its value with that constant, so that the type checker knows what comes out:

    CPUS = value("cpus", "N", "processors of the machine", parse_cpus)
    ...
    parsed.get(CPUS)            # int | None

The parser does no I/O and knows no verb.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from gasang.core.errors import UsageError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Option(Generic[T_co]):
    """A flag of a verb. `read` makes its value from the texts given, in order; none were given: an empty tuple."""

    def __init__(
        self,
        name: str,
        help: str,  # noqa: A002
        read: Callable[[tuple[str, ...]], T_co],
        *,
        placeholder: str = "",
        short: str = "",
        choices: Sequence[str] = (),
        files: bool = False,
    ) -> None:
        self.name = name
        self.help = help
        self.read = read
        self.placeholder = placeholder
        self.short = short
        self.choices = tuple(choices)
        self.files = files

    @property
    def flag(self) -> str:
        """How it is written: ``--name``."""
        return f"--{self.name}"

    @property
    def takes_value(self) -> bool:
        """Whether a value follows; a switch has none."""
        return bool(self.placeholder)


def switch(name: str, help: str, *, short: str = "") -> Option[bool]:  # noqa: A002
    """An option without a value."""
    return Option(name, help, bool, short=short)


HELP: Option[bool] = switch("help", "show this page", short="h")
"""Every verb has it. Where it is given, the parser asks for nothing else."""


def value(
    name: str,
    placeholder: str,
    help: str,  # noqa: A002
    convert: Callable[[str, str], T],
    *,
    short: str = "",
    choices: Sequence[str] = (),
    files: bool = False,
) -> Option[T | None]:
    """An option with one value, None where it was not given; the last one given wins. `convert` takes (text, subject)."""

    def read(texts: tuple[str, ...]) -> T | None:
        return convert(texts[-1], f"--{name}") if texts else None

    return Option(name, help, read, placeholder=placeholder, short=short, choices=choices, files=files)


def values(
    name: str,
    placeholder: str,
    help: str,  # noqa: A002
    convert: Callable[[str, str], T],
    *,
    short: str = "",
    files: bool = False,
) -> Option[tuple[T, ...]]:
    """An option that may be given many times; its value is all of them in order."""

    def read(texts: tuple[str, ...]) -> tuple[T, ...]:
        return tuple(convert(text, f"--{name}") for text in texts)

    return Option(name, help, read, placeholder=placeholder, short=short, files=files)


def plain_text(text: str, subject: str) -> str:
    """A text as it stands; raise UsageError if it is empty or has a NUL, which no program argument can have."""
    if not text or "\0" in text:
        raise UsageError(subject, "its value is empty" if not text else "its value has a NUL character", "give it a value")
    return text


class Argument(NamedTuple):
    """A word of a verb that is no option.

    `completes` names what a shell may propose: "images", "machines", "networks", "volumes", "files", or the words themselves.
    """

    name: str
    help: str
    required: bool = True
    repeated: bool = False
    completes: str = ""


class Example(NamedTuple):
    """A command line that works as it stands, and what it does."""

    command: str
    meaning: str


class Parsed:
    """What a command line says: the value of each option, the arguments, and the words of the guest's command."""

    def __init__(self, verb: str, values: dict[str, Any], arguments: tuple[str, ...], command: tuple[str, ...]) -> None:
        self.verb = verb
        self._values = values
        self.arguments = arguments
        self.command = command

    def get(self, option: Option[T]) -> T:
        """The value of `option`, one of those the verb describes."""
        result: T = self._values[option.name]
        return result


def never(given: Collection[str]) -> bool:
    """Options may stand after the arguments, whatever is given."""
    return False


class Syntax(NamedTuple):
    """All that a verb accepts. `command` is the help of the words after ``--``; empty: the verb takes none.

    `closes`, asked with the names of the options given, tells whether every word after the last argument belongs to the command.
    `headings` are titles of the help page with those of the options that stand under them; the others stand under "Options".
    `commands` are the names of a family's commands and what each does.
    """

    summary: str
    options: tuple[Option[Any], ...] = ()
    arguments: tuple[Argument, ...] = ()
    command: str = ""
    examples: tuple[Example, ...] = ()
    notes: str = ""
    closes: Callable[[Collection[str]], bool] = never
    headings: tuple[tuple[str, tuple[Option[Any], ...]], ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
