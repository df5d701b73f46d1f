from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gasang.cli import main as command

SOURCE = """
int add(int a, int b) { return a + b; }
int twice(int a) { return add(a, a) << 1; }
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("riscv64-linux-gnu-gcc")
    if compiler is None:
        pytest.skip("riscv64-linux-gnu-gcc is not installed")
    folder = tmp_path_factory.mktemp("disasm")
    (folder / "a.c").write_text(SOURCE)
    flags = ["-O1", "-march=rv64imac", "-mabi=lp64", "-fno-inline", "-nostdlib", "-static", "-Wl,-e,add"]
    subprocess.run([compiler, *flags, "-o", folder / "a.elf", folder / "a.c"], check=True)
    return folder / "a.elf"


def lines(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    assert command.main(["disasm", *map(str, words)]) == 0
    return [line for line in capsys.readouterr().out.splitlines() if line]


def test_the_words_are_those_of_objdump(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objdump = shutil.which("riscv64-linux-gnu-objdump")
    assert objdump is not None
    words = [objdump, "-d", "-M", "no-aliases", "--no-show-raw-insn", compiled]
    theirs = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    expected = [re.sub(r"\s*#.*", "", line).split() for line in theirs.splitlines() if re.match(r"\s+[0-9a-f]+:\t", line)]
    ours = [line.split() for line in lines(capsys, "--no-aliases", compiled) if re.match(r"\s+[0-9a-f]+:", line)]

    def plain(word: str) -> str:
        """As objdump writes addresses: without 0x."""
        return word.replace("0x", "")

    assert [[place, *map(plain, words)] for place, _, *words in ours] == [[place, *map(plain, words)] for place, *words in expected]


def test_one_function_and_its_callee_by_name(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = lines(capsys, "--symbol", "twice", compiled)
    assert shown[0] == "section .text:"
    assert shown[1].endswith("<twice>:")
    assert any(line.endswith("<add>") and " jal" in line for line in shown)
    assert not any("<add>:" in line for line in shown)


def test_a_range_without_aliases_by_number(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = int(lines(capsys, "--symbol", "add", compiled)[1].split()[0], 16)
    shown = lines(capsys, "--start", hex(start), "--stop", hex(start + 2), "--no-aliases", "--numeric", compiled)
    assert [line.split()[2:] for line in shown[2:]] == [["c.addw", "x10,x11"]]


def test_an_object_that_is_not_linked(compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compiler = shutil.which("riscv64-linux-gnu-gcc")
    assert compiler is not None
    subprocess.run([compiler, "-c", "-O1", "-ffunction-sections", "-o", tmp_path / "a.o", compiled.with_name("a.c")], check=True)
    labels = [line for line in lines(capsys, tmp_path / "a.o") if line.endswith(">:")]
    assert labels == ["0000000000000000 <add>:", "0000000000000000 <twice>:"]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--section", ".nope"], 3, "it has no section .nope"),
        (["--symbol", "nope"], 3, "it has no symbol nope"),
        (["--start", "here"], 2, "'here' is no address"),
        (["--stop", "-1"], 2, "'-1' is no address"),
    ],
)
def test_what_is_not_there_is_named(words: list[str], code: int, sentence: str, compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["disasm", *words, str(compiled)]) == code
    assert sentence in capsys.readouterr().err


def test_other_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["disasm", "/bin/true"]) == 1
    assert capsys.readouterr().err.startswith("gasang: /bin/true: it is for ")
    (tmp_path / "text").write_text("hello")
    assert command.main(["disasm", str(tmp_path / "text")]) == 1
    assert command.main(["disasm", str(tmp_path / "nothing")]) == 3
    assert command.main(["disasm", str(tmp_path)]) == 2
