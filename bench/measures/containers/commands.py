"""Wall time of commands, as a user feels them: run, twenty at once, exec, ps."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Sequence

from bench.figures import Figure, Target
from bench.measures.containers.sides import IMAGE, Side, Taken, in_turn, waiting

AT_ONCE = 20
LISTED = 10


def client_alone(found: Sequence[Side], runs: int) -> list[Figure]:
    """What the client itself takes: a command that only asks for the version."""
    values = in_turn(found, runs, lambda side: side.seconds("version", "--format", "{{.Server.Version}}"))
    return [_milliseconds("docker version", values, None)]


def run(found: Sequence[Side], runs: int) -> list[Figure]:
    """`docker run --rm IMAGE true` on the default bridge."""
    values = in_turn(found, runs, lambda side: side.seconds("run", "--rm", IMAGE, "true"))
    return [_milliseconds("docker run --rm IMAGE true", values, Target("≤", 0.25))]


def at_once(found: Sequence[Side], runs: int) -> list[Figure]:
    """Twenty of them started together, until the last has ended."""
    values = in_turn(found, max(1, runs // 4), _together)
    return [_milliseconds(f"{AT_ONCE} of them at once", values, Target("≤", 0.25))]


def _together(side: Side) -> float:
    begin = time.monotonic()
    command = (*side.docker.program, "run", "--rm", IMAGE, "true")
    clients = [
        subprocess.Popen(
            command, env=side.docker.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(AT_ONCE)
    ]
    codes = [client.wait() for client in clients]
    taken = time.monotonic() - begin
    if any(codes):
        raise OSError(f"{side.name}: {AT_ONCE} at once ended with {codes}")
    return taken


def execute(found: Sequence[Side], runs: int) -> list[Figure]:
    """`docker exec CONTAINER true`."""
    with contextlib.ExitStack() as stack:
        names = {side.name: stack.enter_context(waiting(side)) for side in found}
        values = in_turn(found, runs, lambda side: side.seconds("exec", names[side.name], "true"))
    return [_milliseconds("docker exec CONTAINER true", values, Target("≤", 0.6))]


def listing(found: Sequence[Side], runs: int) -> list[Figure]:
    """`docker ps` with ten containers."""
    return [_milliseconds(f"docker ps, {LISTED} containers", _listed(found, runs, lambda side: side.seconds("ps")), None)]


def own_listing(found: Sequence[Side], runs: int) -> list[Figure]:
    """`gasang ps` with ten containers."""
    ours = [side for side in found if side.name == "gasang"]
    return [_milliseconds(f"gasang ps, {LISTED} containers", _listed(ours, runs, _own_listing), Target("≤", 120, "ours"))]


def _listed(found: Sequence[Side], runs: int, measure: Callable[[Side], float]) -> Taken:
    with contextlib.ExitStack() as stack:
        for side in found:
            for _ in range(LISTED):
                stack.enter_context(waiting(side))
        return in_turn(found, runs, measure)


def _own_listing(side: Side) -> float:
    command = [*side.engine.command[:-1], "ps"]
    begin = time.monotonic()
    subprocess.run(command, env={**side.docker.environment, **side.engine.environment}, capture_output=True, check=True)
    return time.monotonic() - begin


def _milliseconds(name: str, values: Taken, target: Target | None) -> Figure:
    return values.figure(name, "ms", target, scale=1000)
