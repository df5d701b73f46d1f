"""TCP from one container to another over the engine's bridge, with the host's iperf3."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence

from bench.figures import Figure, Target
from bench.measures.containers.sides import IMAGE, PEER, Side, in_turn

SERVER, NETWORK = "iperf-server", "iperf-lan"
INSIDE = ("--network", NETWORK, "-v", "/:/host", IMAGE, "chroot", "/host", "iperf3")
SECONDS = 4


def networks(found: Sequence[Side], runs: int) -> list[Figure]:
    """iperf3 between two containers of a network of their own, one stream and four, in Gbit/s. Needs iperf3."""
    if not shutil.which("iperf3"):
        raise OSError("iperf3 is not installed")
    rounds = max(3, runs // 4)
    if any(side.name == PEER for side in found):
        _let_each_other_be()
    for side in found:
        side.docker("network", "create", NETWORK)
        side.docker("run", "-d", "--name", SERVER, *INSIDE, "-s")
    lines = []
    for streams in (1, 4):
        taken = in_turn(found, rounds, lambda side, streams=streams: _rate(side, streams))  # type: ignore[misc]
        name = f"container to container, {streams} stream{'s' if streams > 1 else ''}"
        lines.append(taken.figure(name, "Gbit/s", Target("≥", 0.95), "more is better"))
    for side in found:
        side.docker("rm", "-f", SERVER)
        side.docker("network", "rm", NETWORK)
    return lines


def _let_each_other_be() -> None:
    """Where bridges filter, dockerd's rules drop what passes bridges of others, until the owner of its host says otherwise here."""
    if shutil.which("iptables"):
        subprocess.run(["iptables", "-I", "DOCKER-USER", "-i", "gs+", "-o", "gs+", "-j", "ACCEPT"], check=True)


def _rate(side: Side, streams: int) -> float:
    """Gbit/s."""
    address = side.docker("inspect", "-f", f'{{{{(index .NetworkSettings.Networks "{NETWORK}").IPAddress}}}}', SERVER).text.strip()
    said = side.docker("run", "--rm", *INSIDE, "-c", address, "-t", str(SECONDS), "-P", str(streams), "-J").text
    return float(json.loads(said)["end"]["sum_received"]["bits_per_second"]) / 1e9
