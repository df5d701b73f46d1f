"""What a daemon of a test says about containers, and the command line beside it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from gasang.api.frames import MULTIPLEXED
from support.fake_daemon import FakeDaemon, frame

LINE: dict[str, Any] = {
    "Id": "0123456789abcdef" * 4,
    "Names": ["/web"],
    "Image": "busybox",
    "Command": "sh -c 'sleep\x1b[31m 1000; and something long'",
    "Created": 1_700_000_000,
    "Status": "Up 3 hours",
    "State": "running",
    "Ports": [{"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}],
    "Labels": {"a": "b"},
    "NetworkSettings": {"Networks": {"bridge": {}}},
}
INSPECTED: dict[str, Any] = {
    "Name": "/web",
    "Config": {"Tty": False, "OpenStdin": True},
    "HostConfig": {"AutoRemove": False},
    "State": {"Running": True, "Paused": False, "Status": "running"},
    "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "::1", "HostPort": "8080"}], "53/udp": None}},
}
RAW = {"Content-Type": "application/vnd.docker.raw-stream"}
FRAMED = {"Content-Type": MULTIPLEXED}


def echo(stream: socket.socket) -> None:
    """A command without a terminal that says what it hears, and on its error stream that it is over."""
    while data := stream.recv(1000):
        stream.sendall(frame(1, b"<" + data + b">"))
    stream.sendall(frame(2, b"over"))


def says(*frames: bytes) -> Callable[[socket.socket], None]:
    def talk(stream: socket.socket) -> None:
        stream.sendall(b"".join(frames))

    return talk


def ready_to_run(daemon: FakeDaemon, talk: Callable[[socket.socket], None], code: int = 0) -> None:
    daemon.tells("POST /containers/create", {"Id": "c1", "Warnings": ["limits are clamped"]}, status=201)
    daemon.tells("POST /containers/c1/attach", talk=talk, headers=FRAMED)
    daemon.tells("POST /containers/c1/wait", chunks=(json.dumps({"StatusCode": code}).encode(),))
    daemon.tells("POST /containers/c1/start", status=204)


def script(*words: str) -> str:
    return f"import sys\nfrom gasang.cli.main import main\nsys.exit(main({list(words)!r}))\n"


def piped(daemon: FakeDaemon, data: bytes, *words: str) -> tuple[int, bytes, bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", script(*words)], input=data, capture_output=True, check=False, timeout=60, env=environment)
    return done.returncode, done.stdout, done.stderr
