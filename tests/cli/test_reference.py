from __future__ import annotations

from pathlib import Path

from gasang.cli import exits
from gasang.cli.reference import all_verbs, markdown
from gasang.core.config import SETTINGS
from gasang.core.errors import GasangError
from gasang.core.lifecycle import diagram

DOCS = Path(__file__).parents[2] / "docs" / "reference"


def test_the_page_is_what_the_descriptions_say() -> None:
    page = (DOCS / "command-line.md").read_text()
    assert page == markdown(), "write it anew: python -m gasang.cli.reference > docs/reference/command-line.md"


def test_it_has_every_verb_exit_code_and_setting() -> None:
    page = markdown()
    assert all(f"## gasang {verb}\n" in page for verb in all_verbs())
    assert all(f"| {kind.exit_code} |" in page for kind in GasangError.__subclasses__())
    assert all(f"| {code}" in page for code in (exits.MACHINE_DIED, exits.INTERRUPTED, exits.NOBODY_READS))
    assert all(f"`{setting.variable}`" in page for setting in SETTINGS.values())


def test_the_lifecycle_page_has_the_tables_diagram() -> None:
    assert f"```mermaid\n{diagram()}```" in (DOCS / "lifecycle.md").read_text()
