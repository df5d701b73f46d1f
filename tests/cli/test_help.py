from __future__ import annotations

from gasang.cli.help import page, two_columns, usage
from gasang.cli.options import Argument, Example, Syntax, plain_text, switch, value


def test_the_usage_shows_what_may_be_left_out() -> None:
    options = (switch("all", "all"),)
    assert usage("v", Syntax("V.")) == "gasang v"
    assert usage("v", Syntax("V.", options, (Argument("A", "a"), Argument("B", "b", required=False)))) == "gasang v [options] A [B]"
    assert usage("v", Syntax("V.", (), (Argument("A", "a", repeated=True),))) == "gasang v A…"
    assert usage("v", Syntax("V.", (), (Argument("A", "a"),), command="c")) == "gasang v A [[--] command…]"


def test_long_texts_are_wrapped_beside_their_labels() -> None:
    lines = two_columns([("-a", "word " * 30), ("--a-label-that-is-much-too-long-for-a-column", "text")], width=60)
    assert all(len(line) <= 60 for line in lines)
    assert lines[-1].strip() == "text"
    assert len({len(line) - len(line.lstrip()) for line in lines[1:3]}) == 1


def test_the_page_has_every_part() -> None:
    syntax = Syntax(
        "Do it.",
        (switch("all", "do all", short="a"), value("size", "N", "how much", plain_text)),
        (Argument("NAME", "what to do"),),
        command="the command",
        examples=(Example("gasang v x", "do x"),),
        notes="Mind the gap.",
    )
    shown = page("v", syntax)
    for part in ("Do it.", "Mind the gap.", "-a, --all", "    --size N", "NAME", "command…", "  # do x\n  gasang v x\n"):
        assert part in shown
