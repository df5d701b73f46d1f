"""What goes into containers and comes out of them: run, exec, logs, attach, without a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gasang.cli import main as command
from support.container_answers import FRAMED, INSPECTED, RAW, echo, piped, ready_to_run
from support.fake_daemon import FakeDaemon, frame

if TYPE_CHECKING:
    pass


def test_input_goes_in_and_its_end_too(daemon: FakeDaemon) -> None:
    ready_to_run(daemon, echo, code=3)
    code, out, err = piped(daemon, b"hello", "run", "-i", "busybox", "cat")
    assert (code, out) == (3, b"<hello>")
    assert err.endswith(b"over")


def test_exec_passes_on_the_code_even_if_it_comes_late(daemon: FakeDaemon) -> None:
    daemon.tells("POST /containers/web/exec", {"Id": "e1"}, status=201)
    daemon.tells("POST /exec/e1/start", talk=echo, headers=FRAMED)
    daemon.tells("GET /exec/e1/json", {"Running": True, "ExitCode": None})
    daemon.tells("GET /exec/e1/json", {"Running": True, "ExitCode": None})
    daemon.tells("GET /exec/e1/json", {"Running": False, "ExitCode": 9})
    ended = {"Type": "container", "Action": "exec_die", "Actor": {"ID": "web", "Attributes": {"execID": "e1"}}}
    daemon.tells("GET /events", chunks=(b'{"Actor":{"Attributes":{"execID":"other"}}}\n', json.dumps(ended).encode() + b"\n"))
    assert piped(daemon, b"x", "exec", "-i", "-e", "A=1", "-w", "/w", "-u", "me", "web", "cat", "-n") == (9, b"<x>", b"over")
    made = daemon.of("POST /containers/web/exec")[0].document
    assert (made["Cmd"], made["Env"], made["WorkingDir"], made["User"]) == (["cat", "-n"], ["A=1"], "/w", "me")


def test_exec_in_the_background(daemon: FakeDaemon) -> None:
    daemon.tells("POST /containers/web/exec", {"Id": "e1"}, status=201)
    daemon.tells("POST /exec/e1/start")
    assert command.main(["exec", "-d", "web", "touch", "/x"]) == 0
    assert daemon.asked[-1].document == {"Detach": True, "Tty": False}


def test_logs_go_where_they_came_from(daemon: FakeDaemon, capfd: pytest.CaptureFixture[str]) -> None:
    data = frame(1, b"out\n") + frame(2, b"err\n")
    daemon.tells("GET /containers/web/logs", chunks=(data[:5], data[5:]), headers=FRAMED)
    daemon.tells("GET /containers/tty/logs", b"as it is\x01\n", headers=RAW)
    assert command.main(["logs", "-f", "--tail", "5", "-t", "web"]) == 0
    assert capfd.readouterr() == ("out\n", "err\n")
    assert daemon.asked[0].query == {"stdout": ["1"], "stderr": ["1"], "follow": ["1"], "tail": ["5"], "timestamps": ["1"]}
    assert command.main(["logs", "tty"]) == 0
    assert capfd.readouterr().out == "as it is\x01\n"


def test_attach_wants_a_machine_that_runs(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.tells("GET /containers/web/json", {**INSPECTED, "State": {"Running": False, "Paused": False, "Status": "exited"}})
    assert command.main(["attach", "web"]) == 4
    assert "machine web: it is exited; gasang start -i starts it" in capsys.readouterr().err
