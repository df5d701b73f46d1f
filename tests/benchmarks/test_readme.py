"""The README that the measuring programs rewrite."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench import readme

BEGIN = "<!-- results: written by {} -->\n"


def test_words_are_kept_and_results_replaced(tmp_path: Path) -> None:
    """Twice, so that old results are replaced, not added to; another program's stay."""
    page = tmp_path / "README.md"
    page.write_text(f"# Words\n\n{BEGIN.format('one')}old\n{readme.END}\nbetween\n{BEGIN.format('two')}theirs\n{readme.END}\nafter\n")
    for seconds in (1, 2):
        readme.write("one", f"| boot | {seconds} |", {"processor": "a fast one"}, page)
    text = page.read_text()
    assert text.startswith("# Words\n")
    assert text.endswith(f"between\n{BEGIN.format('two')}theirs\n{readme.END}\nafter\n")
    assert "- processor: a fast one" in text
    assert text.count("| boot |") == 1
    assert "| boot | 2 |" in text


def test_a_page_without_the_place_is_left_alone(tmp_path: Path) -> None:
    """The sentence names the mark to add."""
    page = tmp_path / "README.md"
    page.write_text("# Words\n")
    with pytest.raises(ValueError, match="results: written by one"):
        readme.write("one", "table", {}, page)
    assert page.read_text() == "# Words\n"


NAMES = ("vm", "containers", "oci", "pull", "supervisor", "network", "kvm", "snapshot", "disks", "volumes")
PROGRAMS = [f"bench/{name}.py" for name in NAMES]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_page_in_the_tree_has_the_places(program: str) -> None:
    """Both marks, in order."""
    text = readme.README.read_text()
    assert 0 <= text.index(BEGIN.format(program)) < text.index(readme.END, text.index(BEGIN.format(program)))
