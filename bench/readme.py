"""The results in bench/README.md: each program that measures writes between its own two marks."""

from __future__ import annotations

from pathlib import Path

README = Path(__file__).resolve().parent / "README.md"
END = "<!-- end of results -->\n"


def write(program: str, table: str, machine: dict[str, str], page: Path = README) -> None:
    """Replace what stands between the marks of `program` by facts about the machine and a table. Raises ValueError without such marks."""
    begin = f"<!-- results: written by {program} -->\n"
    before, mark, rest = page.read_text().partition(begin)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{page}: there is no place for the results of {program}; add {begin.strip()} and {END.strip()}")
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    page.write_text(f"{before}{begin}\n{facts}\n\n{table}\n\n{END}{after}")
