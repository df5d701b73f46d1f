from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def setup() -> ModuleType:
    """A fresh tools/setup.py."""
    spec = importlib.util.spec_from_file_location("gasang_setup", ROOT / "tools" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that stand before all others; what they were called with is in its file `calls`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def program(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/calls\n{body}\n')
    (folder / name).chmod(0o755)


def calls(folder: Path) -> list[str]:
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_only_what_is_missing_is_installed(setup: ModuleType, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(programs, "dpkg-query", 'echo "gpgv installed"; echo "gnupg not-installed"')
    program(
        programs,
        "apt-get",
        'for a; do case $a in APT::Status-Fd=*) echo "pmstatus:gnupg:50.0:Unpacking" > /proc/self/fd/${a#*=} ;; esac; done',
    )
    monkeypatch.setattr(setup.os, "geteuid", lambda: 0)
    setup.install_debian_packages(("gpgv", "gnupg", "qemu-user-static"))
    installs = [call for call in calls(programs) if call.startswith("apt-get")]
    assert len(installs) == 1
    assert installs[0].endswith("install gnupg qemu-user-static")


def test_one_of_two_that_exclude_each_other_will_do(setup: ModuleType, programs: Path) -> None:
    program(programs, "dpkg-query", 'echo "busybox-static installed"')
    assert setup.missing_packages(("busybox", "cpio")) == ["cpio"]


def test_what_the_suite_does_not_have_is_done_without(setup: ModuleType, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(programs, "dpkg-query", "exit 1")
    program(programs, "apt-cache", '[ "$2" != sqv ]')
    program(programs, "apt-get", "exit 0")
    monkeypatch.setattr(setup.os, "geteuid", lambda: 0)
    setup.install_debian_packages(("gpgv", "sqv"))
    assert [call.split()[-1] for call in calls(programs) if call.startswith("apt-get")] == ["gpgv"]
    setup.install_debian_packages(("sqv",))
    assert len([call for call in calls(programs) if call.startswith("apt-get")]) == 1


def test_nothing_missing_asks_no_network(setup: ModuleType, programs: Path) -> None:
    program(programs, "dpkg-query", 'echo "gpgv installed"')
    program(programs, "apt-get", "exit 1")
    setup.install_debian_packages(("gpgv",))
    assert not any(call.startswith("apt-get") for call in calls(programs))


def test_old_lists_are_renewed_and_tried_again(setup: ModuleType, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(programs, "dpkg-query", "exit 1")
    program(programs, "apt-get", f'case "$*" in *update) touch {programs}/fresh ;; *) test -e {programs}/fresh ;; esac')
    monkeypatch.setattr(setup.os, "geteuid", lambda: 0)
    setup.install_debian_packages(("gpgv",))
    assert [call.split()[-1] for call in calls(programs) if call.startswith("apt-get")] == ["gpgv", "update", "gpgv"]


def test_a_failure_shows_what_apt_said(
    setup: ModuleType, programs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program(programs, "dpkg-query", "exit 1")
    program(programs, "apt-get", 'echo "E: no space left"; exit 100')
    monkeypatch.setattr(setup.os, "geteuid", lambda: 0)
    with pytest.raises(SystemExit, match="setup: apt-get could not install"):
        setup.install_debian_packages(("gpgv",))
    assert "E: no space left" in capsys.readouterr().out


def test_who_is_not_root_is_told_the_command(
    setup: ModuleType, programs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program(programs, "dpkg-query", "exit 1")
    program(programs, "apt-get", "exit 1")
    monkeypatch.setattr(setup.os, "geteuid", lambda: 1000)
    setup.install_debian_packages(("gpgv", "gnupg"))
    assert "sudo apt-get install gpgv gnupg" in capsys.readouterr().out
    assert not any(call.startswith("apt-get") for call in calls(programs))


def test_an_environment_that_is_up_to_date_is_left_alone(setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "VENV", tmp_path)
    monkeypatch.setattr(setup, "STAMP", tmp_path / "stamp")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "stamp").write_text(setup.fingerprint())
    monkeypatch.setattr(setup.subprocess, "run", lambda *a, **k: pytest.fail("it started a program"))
    setup.make_environment()


def test_the_requirements_are_those_of_the_project(setup: ModuleType) -> None:
    assert any(text.startswith("pytest") for text in setup.requirements())


@pytest.mark.parametrize(("fraction", "shown"), [(0.01, "1%"), (0.5, "50%, about")])
def test_progress_off_a_terminal_is_lines(setup: ModuleType, fraction: float, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    report = setup.Report("Packages")
    report.shown -= 10
    report.start -= 10
    report.at(fraction, "libc6")
    report.at(fraction)
    report.done()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Packages …"
    assert lines[1].startswith(f"  Packages: {shown}")
    assert lines[2] == "  Packages: done in 10 s"


def test_an_unknown_purpose_is_refused(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup.sys, "argv", ["setup.py", "holiday"])
    with pytest.raises(SystemExit, match="there is no purpose 'holiday'; choose one of demo, test, bench"):
        setup.main()
