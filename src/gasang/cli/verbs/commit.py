"""``gasang commit``: an image from a machine's files."""

from __future__ import annotations

from gasang.cli.containers.daemon import connect
from gasang.cli.containers.each import MACHINE
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, switch, value, values
from gasang.cli.settings import Context

AUTHOR = value("author", "NAME", "who made it", plain_text, short="a")
MESSAGE = value("message", "TEXT", "what it is", plain_text, short="m")
CHANGE = values("change", "INSTRUCTION", "of a Dockerfile, such as 'CMD [\"sh\"]'", plain_text, short="c")
NO_PAUSE = switch("no-pause", "let it run on meanwhile; files may then be caught half-written")

SYNTAX = Syntax(
    "Make an image of a machine's image and what it has changed, and print its id.",
    options=(AUTHOR, MESSAGE, CHANGE, NO_PAUSE),
    arguments=(MACHINE, Argument("IMAGE", "what to call it", required=False)),
    examples=(Example("gasang commit web web:tried", "keep what it has become"),),
)


def run(parsed: Parsed, context: Context) -> int:
    """Make it and print its id. Raises GasangError."""
    name, *image = parsed.arguments
    query = {
        "container": name,
        "repo": image[0] if image else None,
        "author": parsed.get(AUTHOR),
        "comment": parsed.get(MESSAGE),
        "changes": list(parsed.get(CHANGE)),
        "pause": int(not parsed.get(NO_PAUSE)),
    }
    print(connect(context).call("POST", "/commit", query, {})["Id"])
    return 0
