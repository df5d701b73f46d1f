"""Health checks: a command run inside a container at intervals, and what its results say of the container."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any, Final

from gasang.core.errors import GasangError
from gasang.daemon.containers.execs import Execs
from gasang.daemon.containers.life import Life
from gasang.daemon.containers.names import stamp
from gasang.daemon.services import Services

INTERVAL: Final = 30.0
TIMEOUT: Final = 30.0
START_INTERVAL: Final = 5.0
RETRIES: Final = 3
OUTPUT_MAX: Final = 4096
RESULTS_KEPT: Final = 5


def command_of(check: dict[str, Any] | None, shell: list[str] | None) -> list[str]:
    """The command of a health check, empty where there is none."""
    test = (check or {}).get("Test") or []
    if not test or test[0] == "NONE":
        return []
    if test[0] == "CMD-SHELL":
        return [*(shell or ["/bin/sh", "-c"]), *test[1:2]]
    return test[1:] if test[0] == "CMD" else []


def _seconds(check: dict[str, Any], name: str, default: float) -> float:
    return check[name] / 1e9 if check.get(name) else default


class Health:
    """Watches containers that have a health check."""

    def __init__(self, services: Services, execs: Execs) -> None:
        self._services = services
        self._execs = execs

    def begin(self, life: Life) -> None:
        """Watch a container from now on, if it has a check."""
        config = life.container.config
        command = command_of(config["Healthcheck"], config["Shell"])
        if not command:
            life.container.status.health = None
            return
        life.container.status.health = {"Status": "starting", "FailingStreak": 0, "Log": []}
        life.health = asyncio.ensure_future(self._watch(life, command))

    async def _watch(self, life: Life, command: list[str]) -> None:
        check = life.container.config["Healthcheck"]
        begun = time.monotonic()
        grace = _seconds(check, "StartPeriod", 0.0)
        while life.container.status.alive:
            health = life.container.status.health
            early = bool(health and health["Status"] == "starting" and time.monotonic() - begun < grace)
            await asyncio.sleep(_seconds(check, "StartInterval", START_INTERVAL) if early else _seconds(check, "Interval", INTERVAL))
            if life.container.status.status == "running":
                result = await self._probe(life, command, _seconds(check, "Timeout", TIMEOUT))
                self._judge(life, result, check, in_grace=time.monotonic() - begun < grace)

    async def _probe(self, life: Life, command: list[str], timeout: float) -> dict[str, Any]:
        """Run the check once."""
        start = time.time_ns()
        code, output = -1, ""
        config = {"Cmd": command, "AttachStdout": True, "AttachStderr": True, "User": life.container.config["User"]}
        try:
            found, ours = await self._execs.run(life.container, config)
            with ours:
                output = await _read(ours, timeout)
                await asyncio.wait_for(found.ended.wait(), timeout)
            code = found.exit.code if found.exit else -1
        except TimeoutError:
            output = f"Health check exceeded timeout ({_duration(timeout)})"
            if found.process:
                await found.process.signal(9)
        except GasangError as error:
            output = str(error)
        return {"Start": stamp(start), "End": stamp(time.time_ns()), "ExitCode": code, "Output": output}

    def _judge(self, life: Life, result: dict[str, Any], check: dict[str, Any], *, in_grace: bool) -> None:
        health = life.container.status.health
        if health is None:
            return
        before = health["Status"]
        health["Log"] = [*health["Log"], result][-RESULTS_KEPT:]
        if result["ExitCode"] == 0:
            health["Status"], health["FailingStreak"] = "healthy", 0
        elif not (in_grace and before == "starting"):
            health["FailingStreak"] += 1
            if health["FailingStreak"] >= (check.get("Retries") or RETRIES):
                health["Status"] = "unhealthy"
        if health["Status"] != before:
            self._services.tell(life.container, f"health_status: {health['Status']}")


def _duration(seconds: float) -> str:
    """A duration as Go writes it, for those that occur."""
    return f"{seconds * 1000:g}ms" if seconds < 1 else f"{seconds:g}s"


async def _read(stream: socket.socket, timeout: float) -> str:
    """What the check says on both streams, its beginning, until it ends. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    stream.setblocking(False)
    framed, said = b"", b""
    deadline = loop.time() + timeout
    while data := await asyncio.wait_for(loop.sock_recv(stream, 65536), max(0.0, deadline - loop.time())):
        framed += data
        while len(framed) >= 8 and len(framed) >= 8 + int.from_bytes(framed[4:8], "big"):
            end = 8 + int.from_bytes(framed[4:8], "big")
            said, framed = (said + framed[8:end])[:OUTPUT_MAX], framed[end:]
    return said.decode(errors="replace")
