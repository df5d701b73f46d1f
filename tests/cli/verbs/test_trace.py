from __future__ import annotations

import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gasang.accel.soft.jit import assembly, regions, store
from gasang.cli import main as command
from gasang.core.console import Console
from gasang.core.progress import Progress
from gasang.cpus.riscv64.isa import rv64
from gasang.kinds.vm import launch
from support.assembler import T0, ZERO, addi, assemble, lui
from support.computing import OFF
from support.fake_registry import serving
from support.kernels import image
from support.regions import AtOnce

BASE = 0x8020_0000
LEGACY_PUTCHAR, LEGACY_SHUTDOWN = 1, 8


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """An ELF program that prints H through the firmware and powers off."""
    words = [
        rv64.by_name["addi"].encode(rd=10, rs1=0, imm=ord("H")),
        rv64.by_name["addi"].encode(rd=17, rs1=0, imm=LEGACY_PUTCHAR),
        rv64.by_name["ecall"].encode(),
        rv64.by_name["addi"].encode(rd=17, rs1=0, imm=LEGACY_SHUTDOWN),
        rv64.by_name["ecall"].encode(),
    ]
    code = b"".join(word.to_bytes(4, "little") for word in words)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 243, 1, BASE, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 120, BASE, BASE, len(code), len(code), 4096)
    path = tmp_path / "hello.elf"
    path.write_bytes(header + segment + code)
    return path


def test_everything_is_shown_from_the_first_instruction(
    program: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GASANG_PROGRESS", "none")  # the processor may have to be compiled first
    assert command.main(["trace", "--memory", "64M", str(program)]) == 0
    shown = capfd.readouterr()
    lines = [line.split() for line in shown.out.splitlines()]
    assert lines[0] == ["0", "0", "S", "0x0000000080200000", "li", "a0,72", "a0=0x48"]
    assert [line[4] for line in lines] == ["li", "li", "firmware", "ecall", "li", "firmware", "ecall"]
    assert shown.err == "H"


def test_one_sort_as_objects_for_programs(program: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command.main(["trace", "--exits", "--format", "jsonl", "-m", "64M", str(program)]) == 0
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(event["what"], event["pc"], event["number"]) for event in events] == [("exit", BASE + 8, 2), ("exit", BASE + 16, 4)]


def test_enough_ends_the_machine(program: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["trace", "--instructions", "--skip", "1", "--limit", "1", "--format", "{number} {text}", "-m", "64M", str(program)]
    assert command.main(words) == 0
    assert capfd.readouterr().out.split() == ["1", "li", "a7,1", "a7=0x1"]


def busy(tmp_path: Path) -> Path:
    """A kernel that counts a million times and powers off."""
    count = (lui(T0, 0x10_0000), addi(T0, T0, -1), ("bne", {"rs1": T0, "rs2": ZERO, "imm": -4}))
    path = tmp_path / "busy"
    path.write_bytes(image(assemble(*count, *OFF)))
    return path


def test_regions_are_shown_at_the_end(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "CompileService", lambda answered, **_: AtOnce(answered))
    monkeypatch.setattr(regions, "HOT_AFTER", 8)
    monkeypatch.setattr(store, "default_folder", lambda: tmp_path / "code")  # else it has what an earlier run has left
    assert command.main(["trace", "--jit", "--format", "json", "--memory", "64M", str(busy(tmp_path))]) == 0
    [found] = json.loads(capfd.readouterr().out)
    assert found["steps"] == 2
    assert found["executed"] > 1_500_000
    assert found["entered"] == sum(found["exits"].values())
    assert found["exits"]["poll"] > 100
    assert command.main(["trace", "--jit", "--memory", "64M", str(busy(tmp_path))]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["REGION", "PC", "STEPS", "ENTERED", "INSTRUCTIONS", "SHARE", "EXITS"]
    assert lines[2].startswith("1 regions of 2 instructions, ")
    assert lines[3].startswith("exits: poll ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--jit", "--traps"], "option --jit: regions are a list, events a stream"),
        (["--format", "json"], "--format json: a trace is a stream"),
        (["--format", "{nope}"], "there is no field {nope}"),
        (["--limit", "many"], "--limit: 'many' is no count"),
        (["--skip", "-1"], "--skip: '-1' is no count"),
        (["--", "true"], "command: only an image can run one"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], sentence: str, program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options, _, inside = " ".join(words).partition("-- ")
    assert command.main(["trace", *options.split(), str(program), *(["--", inside] if inside else [])]) == 2
    assert sentence in capsys.readouterr().err


def test_names_stand_for_numbers(program: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command.main(["trace", "--exits", "--format", "{text}", "-m", "64M", str(program)]) == 0
    assert capfd.readouterr().out.splitlines() == ["firmware call legacy console_putchar(ch=0x48)", "firmware call legacy shutdown()"]


def test_an_image_has_its_own_initrd(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["trace", "--initrd", str(program), "debian:trixie"]) == 2
    assert "an image has its own" in capsys.readouterr().err


def test_an_image_is_run_with_its_command(program: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """What is neither a file nor looks like one is an image; here one whose kernel is the program."""
    asked: list[tuple[str, tuple[str, ...]]] = []

    def boot(spec: launch.VmSpec, console: Console, progress: Progress) -> int:
        assert spec.image is not None
        asked.append((spec.image, spec.command))
        console.on_input(lambda data: None)
        return run_vm(replace(spec, image=None, kernel=program, command=()), console, progress) or 42

    run_vm = launch.run_vm
    monkeypatch.setattr(launch, "run_vm", boot)
    assert command.main(["trace", "--traps", "--exits", "-m", "64M", "debian:trixie", "--", "sh", "-c", "exit 42"]) == 42
    assert asked == [("debian:trixie", ("sh", "-c", "exit 42"))]
    assert "console_putchar" in capfd.readouterr().out


def test_an_image_nobody_has(capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as registry:
        assert command.main(["trace", "-m", "64M", f"{registry.address}/nosuchthing:1"]) == 3
    assert "it is not here for linux/riscv64, and " in capsys.readouterr().err


def test_files_that_are_no_kernels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("hello")
    assert command.main(["trace", str(tmp_path / "text")]) == 1
    assert command.main(["trace", str(tmp_path / "nothing")]) == 3
    assert capsys.readouterr().err.count("\n") == 2


def test_a_full_disk_ends_the_trace(program: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this host has no /dev/full")
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "gasang", "trace", "-m", "64M", str(program)]
        answer = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert answer.returncode == 7
    assert "no space left" in answer.stderr
