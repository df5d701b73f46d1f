from __future__ import annotations

import json

import pytest

from gasang.cli import main as command
from gasang.cli.checks.finding import Finding, Host, Status
from gasang.cli.checks.table import CHECKS


def broken(host: Host) -> Finding:
    return Finding(Status.FAILED, "it is broken", "mend it")


def test_findings_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["doctor", "--format", "json", "python", "kvm"]) == 0
    assert [row["check"] for row in json.loads(capsys.readouterr().out)] == ["python", "kvm"]


def test_a_failure_is_the_exit_code_and_has_its_remedy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(CHECKS, "python", broken)
    assert command.main(["doctor", "python", "kvm"]) == 1
    assert "python failed it is broken mend it" in " ".join(capsys.readouterr().out.split())


def test_an_unknown_check_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["doctor", "weather"]) == 2
    assert "there is no 'weather'" in capsys.readouterr().err
