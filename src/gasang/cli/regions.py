"""What is shown of a machine's compiled regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gasang.cli.output import Column, Row
from gasang.core.units import format_size

if TYPE_CHECKING:
    from gasang.accel.soft.jit.report import Report

COLUMNS = (
    Column("region", "REGION"),
    Column("pc", "PC", hex),
    Column("steps", "STEPS"),
    Column("entered", "ENTERED"),
    Column("executed", "INSTRUCTIONS"),
    Column("share", "SHARE", lambda share: f"{share:.2%}"),
    Column("exits", "EXITS", lambda exits: exits_text(exits)),
)


def exits_text(exits: dict[str, int]) -> str:
    """Reasons with their counts, the most frequent first; those that never were are left out."""
    ordered = sorted(exits.items(), key=lambda item: -item[1])
    return " ".join(f"{reason} {count}" for reason, count in ordered if count)


def rows(report: Report) -> list[Row]:
    """A row of each region, the one that executed most first."""
    total = max(report.instructions, 1)
    return [
        {
            "region": region.number,
            "pc": region.pc,
            "steps": region.steps,
            "entered": region.entered,
            "executed": region.executed,
            "share": round(region.executed / total, 6),
            "exits": dict(region.exits),
        }
        for region in sorted(report.regions, key=lambda region: -region.executed)
    ]


def summary(report: Report) -> str:
    """All of them in two lines."""
    totals = report.totals()
    return (
        f"{totals['regions']} regions of {totals['steps']} instructions, {format_size(totals['code_bytes'])} of code, compiled in "
        f"{totals['compile_seconds']:.2f} s; they executed {report.coverage:.1%} of {report.instructions} instructions\n"
        f"exits: {exits_text(totals['exits']) or 'none'}\n"
    )
