from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from gasang.cli import main as command
from gasang.cli import table
from gasang.cli.containers.family import resolved
from gasang.cli.options import Syntax

VERBS = list(table.VERBS)


def gasang(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    arguments = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, "timeout": 60} | options
    return subprocess.run([sys.executable, "-m", "gasang", *words], check=False, **arguments)  # type: ignore[call-overload,no-any-return]


def test_every_verbs_file_is_in_the_table() -> None:
    folder = Path(str(import_module("gasang.cli.verbs").__file__)).parent
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == {table.module_of(verb).rpartition(".")[2] for verb in VERBS}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([verb, "--help"]) == 0
    page = capsys.readouterr().out
    assert page.startswith(f"Usage: gasang {verb}")
    assert "\nExamples:\n  # " in page
    assert f"gasang {verb}" in page.split("Examples:")[1]
    assert all(len(line) <= 110 for line in page.splitlines())


@pytest.mark.parametrize("verb", VERBS)
def test_every_example_fits_its_verb(verb: str) -> None:
    module = import_module(table.module_of(verb))
    syntax: Syntax = module.SYNTAX
    assert syntax.examples
    assert syntax.summary.endswith(".")
    for example in syntax.examples:
        own = example.command.split(" -- ")[0].split("|")[-1]
        name = own.split()[2] if syntax.commands else ""
        accepts = resolved(module.COMMANDS[name], name)[0] if name in getattr(module, "COMMANDS", ()) else syntax
        flags = {option.flag for option in accepts.options}
        assert {word.split("=")[0] for word in own.split() if word.startswith("--")} <= flags


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], []])
def test_the_front_page_has_every_verb(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(words) == 0
    page = capsys.readouterr().out
    assert all(f"  {verb} " in page and summary in page for verb, summary in table.VERBS.items())


def test_help_of_a_verb_can_be_asked_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["help", "kinds"])
    first = capsys.readouterr().out
    command.main(["kinds", "-h"])
    assert capsys.readouterr().out == first


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("gasang 0.")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["runn"], "gasang: verb 'runn': there is no such verb; did you mean run?\n"),
        (["zzz"], "gasang: verb 'zzz': there is no such verb; gasang --help lists the verbs\n"),
        (["--debug"], "gasang: command line: the verb is missing"),
        (["kinds", "--formt", "json"], "gasang: option --formt: gasang kinds has no such option; did you mean --format?\n"),
        (["kinds", "--progress", "loud"], "gasang: --progress: there is no 'loud'; choose one of auto, plain, json, none\n"),
        (["kinds", "\x1b[31m"], "gasang: argument '\\x1b[31m': gasang kinds takes no such argument"),
        (["run"], "gasang: gasang run: it needs an IMAGE or a --kernel"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_code_2(words: list[str], sentence: str) -> None:
    answer = gasang(*words)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.splitlines(keepends=True)[-1].startswith(sentence)
    assert len(answer.stderr.splitlines()) == 1 or "--debug" in words


def test_options_before_the_verb_mean_the_same() -> None:
    assert gasang("--progress", "none", "--debug", "kinds", "--format", "name").stdout == "vm\ncontainer\n"


def test_debug_shows_the_traceback() -> None:
    answer = gasang("kinds", "--formt", "--debug")
    assert answer.returncode == 2
    assert "Traceback" in answer.stderr
    assert "Traceback" in gasang("kinds", "--formt", env={**os.environ, "GASANG_DEBUG": "1"}).stderr


def test_a_reader_that_leaves_is_no_error() -> None:
    with subprocess.Popen([sys.executable, "-m", "gasang", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 141


def test_a_full_disk_is_told_with_code_7() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this host has no /dev/full")
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(
            [sys.executable, "-m", "gasang", "kinds"], stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    assert answer.returncode == 7
    assert answer.stderr.count("\n") == 1
    assert "no space left" in answer.stderr


def test_output_that_is_closed_or_cannot_spell_is_no_error() -> None:
    assert gasang("kinds", env={**os.environ, "PYTHONIOENCODING": "ascii"}).returncode == 0
    assert subprocess.run(f"{sys.executable} -m gasang kinds >&-", shell=True, check=False, timeout=60).returncode == 0


def test_a_fault_of_ours_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import gasang.kinds\ndef broken(*a): raise ZeroDivisionError('boom')\ngasang.kinds.can = broken\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    answer = gasang("kinds", env=environment)
    assert answer.returncode == 1
    assert answer.stderr == "gasang: a fault of gasang itself (ZeroDivisionError: boom); add --debug for its traceback and report it\n"
    assert "Traceback" in gasang("kinds", "--debug", env=environment).stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_unwinds_and_has_its_code(number: int, code: int, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import gasang.kinds, time\n"
        "def wait(*a):\n"
        "    try:\n        print('waiting', flush=True)\n        while True: time.sleep(0.01)\n"
        "    finally:\n        print('cleaned', flush=True)\n"
        "gasang.kinds.can = wait\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    command_line = [sys.executable, "-m", "gasang", "kinds"]
    with subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        try:
            output, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert output == "cleaned\n"
    assert errors == "gasang: interrupted\n"
    assert process.returncode == code


def seconds(*words: str) -> float:
    """Of processor time: what else goes on takes none of it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_the_help_page_costs_little_more_than_python_itself() -> None:
    pairs = [(seconds("-c", "pass"), seconds("-m", "gasang", "--help")) for _ in range(7)]
    bare, ours = (min(column) for column in zip(*pairs, strict=True))
    assert ours < 2.2 * bare + 0.01


LOADED = """
import sys
sys.path[:0] = {path!r}
from gasang.cli.main import main
main({words!r})
print(*sys.modules)
"""


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        (["--help"], {"dataclasses", "llvmlite", "rich", "re"}),
        (["run", "--help"], {"dataclasses", "llvmlite", "rich"}),
        (["kinds"], {"llvmlite", "rich", "threading"}),
        (["ps", "--help"], {"dataclasses", "decimal", "threading"}),
        (["exec", "--help"], {"dataclasses", "decimal", "threading"}),
        (["image", "--help"], {"dataclasses", "decimal", "json", "socket", "gasang.storage", "gasang.cli.appliances"}),
    ],
)
def test_a_verb_loads_only_what_it_needs(words: list[str], unwanted: set[str]) -> None:
    script = LOADED.format(path=sys.path, words=words)
    answer = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert not unwanted & set(answer.stdout.splitlines()[-1].split())


CONVERTS = {"dataclasses", "decimal", "json", "socket", "subprocess", "ctypes", "uuid", "llvmlite", "rich"}


@pytest.mark.parametrize("form", ["raw", "vdi", "vhdx", "qcow2"])
def test_a_conversion_loads_only_what_it_needs(form: str, tmp_path: Path) -> None:
    assert gasang("image", "create", "--to", form, str(tmp_path / "one"), "1M").returncode == 0
    words = ["image", "convert", "--from", form, "--to", "qcow2", str(tmp_path / "one"), str(tmp_path / "other")]
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LOADED.format(path=sys.path, words=words)], capture_output=True, text=True, check=True
    )
    loaded = set(answer.stdout.splitlines()[-1].split())
    assert not CONVERTS & loaded
    others = {f"gasang.storage.images.{name}" for name in ("vmdk", "vdi", "vhd", "vhdx", "parallels") if name != form}
    assert not others & loaded


def test_what_asks_the_daemon_loads_nothing_that_the_daemon_needs() -> None:
    script = f"import sys; sys.path[:0] = {sys.path!r}; import gasang.cli.containers.daemon; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert not {"gasang.images", "gasang.native", "llvmlite", "asyncio"} & set(answer.stdout.split())
