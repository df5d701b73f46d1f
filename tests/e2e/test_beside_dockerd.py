"""Containers on a host where Debian's dockerd runs, whose rules drop what others forward: it starts before our networks, or later."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.engines.engine import dockerd, remove, short_home
from support.engines.verbs import IMAGE, Gasang, serving
from support.supervised import eventually

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not shutil.which("busybox"), reason="needs busybox-static"),
    pytest.mark.skipif(not shutil.which("dockerd"), reason="needs dockerd (Debian's docker.io)"),
]
SECONDS = 20.0


@contextmanager
def running_dockerd() -> Iterator[None]:
    home = short_home("dockerd")
    engine = dockerd(home)
    try:
        engine.start()
        yield
    finally:
        engine.stop()
        remove(home)


def rules() -> str:
    return subprocess.run(["iptables-save", "-t", "filter"], capture_output=True, text=True, check=True).stdout


def all_pass(gasang: Gasang) -> None:
    assert "1 packets received" in gasang("exec", "box", "ping", "-c", "1", "-W", "5", "web")
    port = int(gasang("port", "web", "80").split(":")[-1])
    with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
        client.settimeout(SECONDS)
        assert client.recv(100) == b"hello\n"


def begin(gasang: Gasang) -> None:
    gasang("network", "create", "lan")
    gasang("run", "-d", "--name", "web", "--network", "lan", "-p", "80", IMAGE, "sh", "-c", "while :; do echo hello | nc -l -p 80; done")
    gasang("run", "-d", "--name", "box", "--network", "lan", IMAGE, "sleep", "1000")


def test_a_dockerd_that_was_there_before() -> None:
    with serving() as gasang, gasang.inside(), running_dockerd():
        assert ":FORWARD DROP" in rules()
        begin(gasang)
        all_pass(gasang)
        assert "accepts our networks" in (gasang.home / "run" / "daemon.log").read_text()
        gasang("rm", "-f", "web", "box")
        gasang("network", "rm", "lan")
        assert "GASANG" not in rules()


def test_a_dockerd_that_comes_later() -> None:
    """Forwarding is on by then, so its policy accepts; what it was, had it been first, stands for somebody who wants it so."""
    with serving() as gasang, gasang.inside():
        begin(gasang)
        with running_dockerd():
            eventually(lambda: "-A DOCKER-USER -j GASANG-" in rules(), SECONDS)
            subprocess.run(["iptables", "-P", "FORWARD", "DROP"], check=True)
            all_pass(gasang)
            gasang("rm", "-f", "web", "box")
            gasang("daemon", "stop")
            assert "GASANG" not in rules()
            gasang("daemon", "start")
            gasang("network", "rm", "lan")
