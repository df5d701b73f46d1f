"""``gasang resume``: unpause, by the name it has for virtual machines."""

from __future__ import annotations

from gasang.cli.containers.each import MACHINES
from gasang.cli.options import Example, Syntax
from gasang.cli.verbs.unpause import run as run

SYNTAX = Syntax(
    "Let frozen machines go on: the same as gasang unpause.",
    arguments=(MACHINES,),
    examples=(Example("gasang resume web", "let it go on"),),
)
