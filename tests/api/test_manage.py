"""Starting and stopping a daemon from outside: two at once, sockets that are dead, other users, the systemd unit."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gasang.api import manage
from gasang.core.errors import GasangError, NoDaemonError, PermissionDeniedError
from gasang.daemon.folders import Folders
from support.engines.engine import remove, short_home
from support.privileges import needs_root

NOBODY = 65534
SOURCE = Path(manage.__file__).resolve().parents[2]


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch) -> Iterator[Folders]:
    """Of a home whose daemon, if one is started, is ended."""
    home = short_home("daemon")
    monkeypatch.setenv("GASANG_HOME", str(home))
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    found = Folders.of(os.environ)
    yield found
    if manage.peer(found) is not None:
        manage.stop(found)
    remove(home)


def started_at_once(folders: Folders, count: int) -> list[Any]:
    """What so many callers of `ensure` get."""
    results: list[Any] = [None] * count

    def start(index: int) -> None:
        try:
            results[index] = manage.ensure(folders)
        except GasangError as error:
            results[index] = error

    threads = [threading.Thread(target=start, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def reap(pid: int) -> None:
    """The daemons of this test are children of this process."""
    os.waitpid(pid, 0)


@needs_root
def test_of_many_who_start_it_one_does(folders: Folders) -> None:
    (pid, *others) = started_at_once(folders, 4)
    assert isinstance(pid, int)
    assert others == [pid] * 3
    assert manage.peer(folders) == pid
    assert f"running as process {pid}" in str(manage.describe(folders))
    assert f"export DOCKER_HOST=unix://{folders.socket}" in str(manage.describe(folders))
    manage.stop(folders)
    reap(pid)
    with pytest.raises(NoDaemonError):
        manage.stop(folders)
    with pytest.raises(NoDaemonError):
        manage.describe(folders)


@needs_root
def test_one_that_was_started_otherwise_is_waited_for(folders: Folders) -> None:
    """As systemd may do it while a verb does."""
    ready, told = os.pipe()
    environment = {**os.environ, "GASANG_READY": str(told)}
    with subprocess.Popen(
        [sys.executable, "-m", "gasang", "daemon", "run"], env=environment, pass_fds=[told], stderr=subprocess.DEVNULL
    ) as other:
        os.close(told)
        while not folders.database.exists() and other.poll() is None:
            threading.Event().wait(0.005)
        assert manage.ensure(folders) == other.pid
        os.close(ready)
        manage.stop(folders)


@needs_root
def test_a_dead_daemons_socket_is_replaced(folders: Folders) -> None:
    folders.run.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folders.socket))
    assert manage.peer(folders) is None
    pid = manage.ensure(folders)
    assert manage.peer(folders) == pid
    os.kill(pid, 9)
    reap(pid)
    assert folders.socket.exists()
    with pytest.raises(NoDaemonError):
        manage.stop(folders)
    again = manage.ensure(folders)
    manage.stop(folders)
    reap(again)


@needs_root
def test_what_it_said_is_told_where_it_cannot_start(folders: Folders) -> None:
    folders.state.mkdir(parents=True)
    folders.database.write_bytes(b"no database" * 1000)
    for _ in range(2):
        with pytest.raises(
            GasangError, match=r"daemon: it did not start: gasang: state .*state.db: it cannot be read.*; look at .*daemon.log"
        ):
            manage.ensure(folders)


@needs_root
def test_the_daemon_of_another_user(folders: Folders) -> None:
    script = """
import os, sys
from gasang.api import manage
from gasang.core.errors import PermissionDeniedError
from gasang.daemon.folders import Folders
os.setgroups([]); os.setresgid({0}, {0}, {0}); os.setresuid({0}, {0}, {0})
for ask in (manage.peer, manage.ensure, manage.stop):
    try:
        ask(Folders.of(os.environ))
    except PermissionDeniedError as error:
        print(error)
"""
    pid = manage.ensure(folders)
    folders.run.parent.chmod(0o711)  # the socket's own permissions are what is asked about
    done = subprocess.run([sys.executable, "-c", script.format(NOBODY)], capture_output=True, text=True, check=True)
    sentence = f"socket {folders.socket}: it belongs to another user; run as that user\n"
    assert done.stdout == sentence * 3
    manage.stop(folders)
    reap(pid)


def test_the_unit_says_what_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", '/a b/"py%h$x')
    text = manage.unit({"GASANG_HOME": "/h i"})
    assert 'ExecStart="/a b/\\"py%%h$$x" -m gasang daemon run\n' in text
    assert 'Environment="GASANG_HOME=/h i"\n' in text
    assert "Environment" not in manage.unit({"GASANG_HOME": "relative"})
    assert "KillMode=process\n" in text


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manage, "UNIT", tmp_path / "system" / "gasang.service")
    path = manage.install({"GASANG_HOME": str(tmp_path)})
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, check=False, timeout=60)
    assert [line for line in done.stderr.splitlines() if "gasang" in line] == []


def test_a_user_gets_a_unit_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    path = manage.install({"XDG_CONFIG_HOME": str(tmp_path)})
    assert path == tmp_path / "systemd/user/gasang.service"
    text = path.read_text()
    assert "WantedBy=default.target\n" in text
    assert "KillMode=process\n" in text
    assert not any(word in text for word in ("network-online", "LimitNOFILE", "Delegate"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert manage.install({}) == tmp_path / "home/.config/systemd/user/gasang.service"


def test_a_unit_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manage, "UNIT", tmp_path / "system" / "gasang.service")

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(PermissionDeniedError, match=r"gasang\.service: it cannot be written; run as root"):
        manage.install({})
