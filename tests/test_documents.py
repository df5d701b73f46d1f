from __future__ import annotations

import re
from pathlib import Path

import pytest

from gasang.cli.table import VERBS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
CODE = re.compile(r"```\w*\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_the_readme_names_every_verb(name: str) -> None:
    text = (ROOT / name).read_text()
    assert all(f"`{verb}`" in text for verb in VERBS)


def test_both_readmes_show_the_same_commands() -> None:
    def commands(name: str) -> list[str]:
        blocks = CODE.findall((ROOT / name).read_text())
        lines = [line.split("#")[0].strip() for block in blocks if "──" not in block for line in block.splitlines()]
        return [line for line in lines if line]

    assert commands("README.md") == commands("README.ko.md")


def test_every_decision_is_in_the_list() -> None:
    listed = (ROOT / "docs" / "adr" / "README.md").read_text()
    pages = {path.name for path in (ROOT / "docs" / "adr").glob("0*.md")}
    assert pages == set(LINK.findall(listed))
