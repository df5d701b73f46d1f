"""The daemon that a verb starts where none runs."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from gasang.cli import main as command
from support.container_answers import LINE
from support.fake_daemon import FakeDaemon

if TYPE_CHECKING:
    pass


def test_none_is_started_where_the_settings_forbid_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as home:
        monkeypatch.setenv("GASANG_HOME", home)
        monkeypatch.setenv("GASANG_AUTOSTART", "no")
        assert command.main(["ps"]) == 9
        assert "daemon: none runs" in capsys.readouterr().err
        assert command.main(["images"]) == 0


def test_one_is_started_where_none_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as home:
        monkeypatch.setenv("GASANG_HOME", home)
        started: list[FakeDaemon] = []

        def ensure(folders: Any) -> int:
            started.append(FakeDaemon(folders.socket))
            started[0].tells("GET /containers/json", [LINE])
            return 1

        monkeypatch.setattr("gasang.api.manage.ensure", ensure)
        assert command.main(["ps", "--format", "name"]) == 0
        assert capsys.readouterr().out == "web\n"
        started[0].close()
