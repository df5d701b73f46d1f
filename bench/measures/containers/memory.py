"""Memory of an engine that does nothing, and of what stays beside each container that only waits."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure, Target
from bench.measures.containers.sides import IMAGE, PEER, Side, waiting
from bench.processes import family

MIB = 1 << 20
IDLE = 5


def memory(found: Sequence[Side], _runs: int) -> list[Figure]:
    """PSS and RSS of the daemon with what it started, and PSS of one container's supervisor (dockerd: shim), five of them running."""
    resident: dict[str, float | None] = {}
    share: dict[str, float | None] = {}
    beside: dict[str, float | None] = {}
    for side in found:
        side.docker("run", "--rm", IMAGE, "true")
        with contextlib.ExitStack() as stack:
            names = [stack.enter_context(waiting(side)) for _ in range(IDLE)]
            supervisors = [_parent(int(side.docker.format(name, "{{.State.Pid}}"))) for name in names]
            beside[side.name] = sum(map(_pss, supervisors)) / IDLE / MIB
            apart = {pid for supervisor in supervisors for pid in family(supervisor)}
            daemon = [pid for pid in family(side.engine.pid) if pid not in apart]
            share[side.name] = sum(map(_pss, daemon)) / MIB
            resident[side.name] = sum(_rss(pid) for pid in daemon) / MIB
    return [
        Figure.of_peers("idle daemon: PSS", "MB", share, Target("≤", 60, "ours"), PEER, "with all it started but supervisors"),
        Figure.of_peers("idle daemon: RSS", "MB", resident, Target("≤", 60, "ours"), PEER, "pages shared with others counted whole"),
        Figure.of_peers("an idle container's supervisor: PSS", "MB", beside, Target("≤", 3, "ours"), PEER),
    ]


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _pss(pid: int) -> int:
    return _kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") * 1024


def _rss(pid: int) -> int:
    return _kilobytes(Path(f"/proc/{pid}/status"), "VmRSS:") * 1024


def _kilobytes(path: Path, field: str) -> int:
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(field))
