"""What a measurement yields and how it is shown: a table, Markdown or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median


@dataclass(frozen=True)
class Target:
    """A bound on a ratio or a figure; `relation` is "≤" or "≥"."""

    relation: str
    bound: float
    of: str = "ratio"
    """"ratio" (against the peer) or "ours" (our own figure)."""

    def met(self, value: float) -> bool:
        """Whether `value` keeps the bound."""
        return value <= self.bound if self.relation == "≤" else value >= self.bound


@dataclass(frozen=True)
class Figure:
    """One line of a report: the peer's figure and ours. What was not measured is None."""

    name: str
    unit: str
    theirs: float | None
    ours: float | None
    ratio: float | None = None
    target: Target | None = None
    note: str = ""

    @classmethod
    def of_peers(
        cls, name: str, unit: str, values: Mapping[str, float | None], target: Target | None = None, peer: str = "qemu", note: str = ""
    ) -> Figure:
        """A figure from each peer's value, where less is better: the ratio is ours over the peer's."""
        theirs, ours = values.get(peer), values.get("gasang")
        return cls(name, unit, theirs, ours, quotient(ours, theirs), target, note)

    def verdict(self) -> str:
        """How the target fares: "met", "missed", or nothing where there is no target or no figure."""
        if self.target is None:
            return ""
        value = self.ratio if self.target.of == "ratio" else self.ours
        if value is None:
            return ""
        return "met" if self.target.met(value) else "missed"

    def target_text(self) -> str:
        """The target as the table shows it."""
        if self.target is None:
            return ""
        return f"{self.target.relation} {self.target.bound:g}" + (" ×" if self.target.of == "ratio" else f" {self.unit}")


def geometric_mean(values: Sequence[float]) -> float:
    """The geometric mean of positive numbers."""
    return math.exp(sum(map(math.log, values)) / len(values))


def middle(values: Sequence[float]) -> float | None:
    """The median, or None of nothing."""
    return median(values) if values else None


def quotient(above: float | None, below: float | None) -> float | None:
    """The one over the other where both were measured."""
    return None if above is None or not below else above / below


def number(value: float | None) -> str:
    """Three significant digits, never an exponent."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def headings(peer: str) -> tuple[str, ...]:
    """Of the columns, where ours is compared with `peer`."""
    return ("what", "unit", peer, "gasang", "ratio", "target", "", "note")


def _cells(figure: Figure) -> tuple[str, ...]:
    measured = (number(figure.theirs), number(figure.ours), number(figure.ratio))
    return (figure.name, figure.unit, *measured, figure.target_text(), figure.verdict(), figure.note)


def as_text(figures: Iterable[Figure], peer: str = "QEMU") -> str:
    """A table for the terminal."""
    rows = [headings(peer), *map(_cells, figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = {2, 3, 4}
    lines = ["  ".join(c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def as_markdown(figures: Iterable[Figure], peer: str = "QEMU") -> str:
    """The same as a Markdown table."""
    rows = [headings(peer), ("---", "---", "--:", "--:", "--:", "---", "---", "---"), *map(_cells, figures)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def as_json(figures: Iterable[Figure], machine: dict[str, str]) -> str:
    """One object: the machine measured on, and the figures."""
    listed = [{**asdict(figure), "verdict": figure.verdict()} for figure in figures]
    return json.dumps({"machine": machine, "figures": listed}, ensure_ascii=False, indent=1)
