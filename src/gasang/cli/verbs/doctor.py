"""``gasang doctor``: check this host and say what to mend."""

from __future__ import annotations

import os

from gasang.cli.checks.finding import Host, Status
from gasang.cli.checks.table import CHECKS
from gasang.cli.options import Argument, Example, Parsed, Syntax
from gasang.cli.output import Column, render
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT
from gasang.core.config import one_of

SYNTAX = Syntax(
    "Check this host and say what to mend.",
    options=(FORMAT,),
    arguments=(Argument("CHECK", f"only these checks, of {', '.join(CHECKS)}", required=False, repeated=True, completes=" ".join(CHECKS)),),
    examples=(
        Example("gasang doctor", "run every check; the exit code is 1 if no machine could run here"),
        Example("gasang doctor mirror keyring", "only these two"),
        Example("gasang doctor --format json", "the findings for a program"),
    ),
)

COLUMNS = (Column("check", "CHECK"), Column("status", "STATUS"), Column("finding", "FINDING"), Column("remedy", "WHAT TO DO"))


def run(parsed: Parsed, context: Context) -> int:
    """Print the findings; 1 if one of them keeps every machine from running."""
    host = Host(os.environ, context.config)
    chosen = [one_of(*CHECKS)(word, "CHECK") for word in parsed.arguments] or list(CHECKS)
    findings = {name: CHECKS[name](host) for name in chosen}
    rows = [
        {"check": name, "status": finding.status.value, "finding": finding.text, "remedy": finding.remedy}
        for name, finding in findings.items()
    ]
    print(render(parsed.get(FORMAT), COLUMNS, rows), end="")
    return int(any(finding.status is Status.FAILED for finding in findings.values()))
