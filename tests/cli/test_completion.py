from __future__ import annotations

import shutil
import subprocess

import pytest

from gasang.cli.completion import SHELLS
from gasang.cli.reference import all_verbs
from gasang.cli.table import VERBS

CHECKERS = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "-n"]}


def complete_in_bash(*words: str) -> list[str]:
    """What bash proposes for the last of `words`."""
    line = " ".join(f"'{word}'" for word in words)
    script = SHELLS["bash"](all_verbs(), VERBS)
    script += 'gasang() { [[ "$*" == "images --format name" ]] && echo "debian:trixie debian:bookworm"'
    script += '; [[ "$GASANG_AUTOSTART $*" == "no ps --all --format name" ]] && echo "web worker"'
    script += '; [[ "$GASANG_AUTOSTART $*" == "no network ls --format name" ]] && echo "app inner"; }\n'
    script += f'COMP_WORDS=({line}); COMP_CWORD=$(({len(words)} - 1)); _gasang; printf "%s\\n" "${{COMPREPLY[@]}}"\n'
    answer = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)
    assert answer.stderr == ""
    return answer.stdout.split()


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one_of_its_shell(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = SHELLS[shell](all_verbs(), VERBS)
    subprocess.run(CHECKERS[shell], input=script, text=True, check=True)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_knows_every_verb_and_flag(shell: str) -> None:
    script = SHELLS[shell](all_verbs(), VERBS)
    for verb, syntax in all_verbs().items():
        assert all(word in script for word in verb.split())
        for option in syntax.options:
            assert (f"-l {option.name}" if shell == "fish" else option.flag) in script


def test_bash_proposes_verbs_flags_choices_and_images() -> None:
    assert complete_in_bash("gasang", "imag") == ["images", "image"]
    assert complete_in_bash("gasang", "kinds", "--f") == ["--format"]
    assert complete_in_bash("gasang", "kinds", "--format", "js") == ["json", "jsonl"]
    assert complete_in_bash("gasang", "run", "debian:t") == ["debian:trixie"]
    assert complete_in_bash("gasang", "logs", "wo") == ["worker"]
    assert complete_in_bash("gasang", "completion", "z") == ["zsh"]


def test_bash_knows_the_commands_of_a_family() -> None:
    assert complete_in_bash("gasang", "network", "c") == ["create", "connect", "capture"]
    assert complete_in_bash("gasang", "network", "create", "--sub") == ["--subnet"]
    assert complete_in_bash("gasang", "network", "rm", "") == ["app", "inner"]
    assert complete_in_bash("gasang", "network", "--sub") == []
    assert complete_in_bash("gasang", "image", "ls", "--x") == []


def test_bash_proposes_files_where_an_option_takes_one(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Image.gz").touch()
    assert complete_in_bash("gasang", "run", "--kernel", "Im") == ["Image.gz"]
    assert complete_in_bash("gasang", "run", "--cpus", "") == []
