"""TCP from one container to another over the engine's bridge, with the host's iperf3."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence

from bench.figures import Figure, Target
from bench.measures.containers.sides import IMAGE, Side, in_turn

SERVER, CLIENT, NETWORK = "iperf-server", "iperf-client", "iperf-lan"
PLACE = ("--network", NETWORK, "-v", "/:/host", IMAGE)
INSIDE = ("chroot", "/host", "iperf3")
SECONDS = 3


def networks(found: Sequence[Side], runs: int) -> list[Figure]:
    """iperf3 between two containers of a network of their own, one stream and four, in Gbit/s. Needs iperf3."""
    if not shutil.which("iperf3"):
        raise OSError("iperf3 is not installed")
    rounds = max(6, runs // 3)
    for side in found:
        side.docker("network", "create", NETWORK)
        side.docker("run", "-d", "--name", SERVER, *PLACE, *INSIDE, "-s")
        side.docker("run", "-d", "--name", CLIENT, *PLACE, "sleep", "100000")  # one for all: what an engine does when one ends costs time
    lines = []
    for streams in (1, 4):
        taken = in_turn(found, rounds, lambda side, streams=streams: _rate(side, streams))  # type: ignore[misc]
        name = f"container to container, {streams} stream{'s' if streams > 1 else ''}"
        lines.append(taken.figure(name, "Gbit/s", Target("≥", 0.95), "more is better"))
    for side in found:
        side.docker("rm", "-f", SERVER, CLIENT)
        side.docker("network", "rm", NETWORK)
    return lines


def _rate(side: Side, streams: int) -> float:
    """Gbit/s."""
    address = side.docker("inspect", "-f", f'{{{{(index .NetworkSettings.Networks "{NETWORK}").IPAddress}}}}', SERVER).text.strip()
    said = side.docker("exec", CLIENT, *INSIDE, "-c", address, "-t", str(SECONDS), "-P", str(streams), "-J").text
    return float(json.loads(said)["end"]["sum_received"]["bits_per_second"]) / 1e9
