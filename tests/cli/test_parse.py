from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.cli.options import HELP, Argument, Syntax, plain_text, switch, value, values
from gasang.cli.parse import nearest, parse
from gasang.core.config import parse_cpus
from gasang.core.errors import UsageError

CPUS = value("cpus", "N", "processors", parse_cpus)
ENV = values("env", "K=V", "variable", plain_text, short="e")
TTY = switch("tty", "terminal", short="t")
INPUT = switch("interactive", "input", short="i")
RUN = Syntax("Run.", (CPUS, ENV, TTY, INPUT, HELP), (Argument("IMAGE", "image", required=False),), command="command")
LIST = Syntax("List.", (TTY, HELP), (Argument("NAME", "name", repeated=True),))
NONE = Syntax("None.", (HELP,))


def test_options_stand_before_and_after_the_argument() -> None:
    for words in (["--cpus", "2", "-it", "img", "--env=a=1", "-e", "b"], ["img", "-eb", "--cpus=2", "-ti"]):
        parsed = parse("run", RUN, words)
        assert parsed.arguments == ("img",)
        assert parsed.get(CPUS) == 2
        assert parsed.get(TTY)
        assert parsed.get(INPUT)
        assert parsed.get(ENV)[-1] == "b"
        assert parsed.command == ()


@pytest.mark.parametrize(
    "words", [["img", "--", "ls", "-l", "--cpus"], ["img", "ls", "-l", "--cpus"], ["-t", "img", "-i", "ls", "-l", "--cpus"]]
)
def test_the_command_is_left_alone(words: list[str]) -> None:
    parsed = parse("run", RUN, words)
    assert (parsed.arguments, parsed.command) == (("img",), ("ls", "-l", "--cpus"))


def test_a_command_may_hold_the_separator_and_need_no_image() -> None:
    assert parse("run", RUN, ["img", "sh", "--", "x"]).command == ("sh", "--", "x")
    parsed = parse("run", RUN, ["--", "sh"])
    assert (parsed.arguments, parsed.command) == ((), ("sh",))


def test_a_switch_may_be_spelled_out_and_taken_back() -> None:
    assert parse("run", RUN, ["--tty=true"]).get(TTY) is True
    assert parse("run", RUN, ["-t", "--tty=false", "img"]).get(TTY) is False
    assert parse("run", RUN, ["--tty=false", "-t"]).get(TTY) is True


def test_what_was_not_given() -> None:
    parsed = parse("run", RUN, [])
    assert parsed.get(CPUS) is None
    assert parsed.get(ENV) == ()
    assert parsed.get(TTY) is False


@pytest.mark.parametrize(
    ("syntax", "words", "sentence"),
    [
        (RUN, ["--cpu", "2"], "option --cpu: gasang v has no such option; did you mean --cpus?"),
        (RUN, ["--zzzzzz"], "option --zzzzzz: gasang v has no such option; see gasang v --help"),
        (RUN, ["-x"], "option -x: gasang v has no such option"),
        (RUN, ["-tx"], "option -x: gasang v has no such option"),
        (RUN, ["--cpus"], "option --cpus: its value is missing; write --cpus N"),
        (RUN, ["--cpus", "0"], "--cpus: '0' is no number of processors"),
        (RUN, ["--tty=perhaps"], "option --tty: 'perhaps' is neither true nor false; write true or false"),
        (RUN, ["-e", ""], "--env: its value is empty"),
        (LIST, [], "gasang v: NAME is missing"),
        (LIST, [""], "gasang v: the argument '' names nothing"),
        (NONE, ["x"], "argument 'x': gasang v takes no such argument"),
        (NONE, ["--", "-x"], "argument '-x': gasang v takes no such argument"),
    ],
)
def test_what_does_not_fit_is_named(syntax: Syntax, words: list[str], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse("v", syntax, words)
    assert str(caught.value).startswith(sentence)


def test_after_the_separator_words_are_arguments() -> None:
    assert parse("list", LIST, ["a", "--", "-b", "--tty"]).arguments == ("a", "-b", "--tty")


def test_a_single_dash_is_an_argument() -> None:
    assert parse("list", LIST, ["-"]).arguments == ("-",)


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--cpus", "x", "--help"], ["img", "-th"]])
def test_who_asks_for_help_is_not_told_off(words: list[str]) -> None:
    assert parse("run", RUN, words).get(HELP)


def test_the_commands_own_help_is_its_own() -> None:
    assert not parse("run", RUN, ["img", "ls", "--help"]).get(HELP)
    assert not parse("run", RUN, ["img", "--", "--help"]).get(HELP)


def test_the_nearest_choice() -> None:
    assert nearest("imges", ["run", "images"]) == "images"
    assert nearest("qqqq", ["run", "images"]) == ""


@given(st.lists(st.text(max_size=8) | st.sampled_from(["--", "-it", "--cpus", "--env", "img", "-e", "--help", "--cpus=3"])))
def test_any_words_parse_or_are_refused(words: list[str]) -> None:
    for syntax in (RUN, LIST, NONE):
        with suppress(UsageError):
            parsed = parse("v", syntax, words)
            assert len(parsed.arguments) + len(parsed.command) <= len(words)


CLOSED = RUN._replace(closes=lambda given: "interactive" not in given)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["-t", "img", "-i", "--cpus", "2"], ("-i", "--cpus", "2")),
        (["img", "--", "-t"], ("-t",)),
        (["img", "--", "--", "x"], ("--", "x")),
        (["img", "--help"], ("--help",)),
        (["img"], ()),
        (["-i", "img", "-t", "x"], ("x",)),
    ],
)
def test_a_verb_may_leave_every_word_after_its_arguments_to_the_command(words: list[str], command: tuple[str, ...]) -> None:
    parsed = parse("run", CLOSED, words)
    assert (parsed.arguments, parsed.command) == (("img",), command)
    assert not parsed.get(HELP)
