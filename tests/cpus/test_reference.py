"""The generated reference: complete and up to date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gasang.cpus.reference import reference
from gasang.cpus.riscv64.isa import rv64

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "riscv64.md"


def test_generating_it_again_changes_nothing() -> None:
    assert PAGE.read_text() == reference(rv64), "run: python -m gasang.cpus.reference > docs/reference/riscv64.md"


def test_the_command_prints_the_page() -> None:
    printed = subprocess.run([sys.executable, "-m", "gasang.cpus.reference"], check=True, capture_output=True, text=True).stdout
    assert printed == reference(rv64)


def test_every_instruction_has_one_row_of_four_cells() -> None:
    rows = [line for line in reference(rv64).splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [entry.name for extension in rv64.extensions for entry in extension.described]
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)
