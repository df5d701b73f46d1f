"""What a user does with networks beyond joining them: limits, and a capture that tcpdump reads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.core.errors import OutOfSpaceError, StateError, UsageError
from support.engines.verbs import IMAGE, Gasang, serving

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not shutil.which("busybox"), reason="needs busybox-static"),
    pytest.mark.skipif(not shutil.which("tcpdump"), reason="needs tcpdump"),
]


@pytest.fixture(scope="module")
def gasang() -> Iterator[Gasang]:
    with serving() as command:
        yield command


def test_a_network_with_limits_and_what_passes_there(gasang: Gasang, tmp_path: Path) -> None:
    gasang("network", "create", "--subnet", "10.7.0.0/24", "--guard", "--vlan", "12", "--bandwidth", "50M", "lan")
    found = json.loads(gasang("network", "inspect", "lan"))[0]["Options"]
    assert found == {"gasang.guard": "true", "gasang.vlan": "12", "gasang.bandwidth": "50M"}
    gasang("network", "capture", "lan", "-w", str(tmp_path / "none"), code=StateError.exit_code)
    gasang("run", "-d", "--name", "box", "--network", "lan", IMAGE, "sleep", "1000")
    gasang("run", "-d", "--name", "caller", "--network", "lan", IMAGE, "ping", "-i", "0.1", "box")

    path = tmp_path / "out.pcapng"
    gasang("network", "capture", "lan", "-w", str(path), "--filter", "icmp and host 10.7.0.2", "--count", "4")
    shown = subprocess.run(["tcpdump", "-n", "-r", path], capture_output=True, text=True, check=True).stdout
    assert shown.count("ICMP echo re") == 4
    assert "10.7.0.3 > 10.7.0.2: ICMP echo request" in shown
    gasang("network", "capture", "lan", "-w", str(path), "--filter", "udp port 9", "--duration", "0.2")
    assert not subprocess.run(["tcpdump", "-r", path], capture_output=True, text=True, check=True).stdout

    full = gasang.run("network", "capture", "lan", "-w", "/dev/full")
    assert full.returncode == OutOfSpaceError.exit_code
    assert b"the disk is full" in full.stderr
    assert "box" in gasang("exec", "caller", "ping", "-c", "1", "box")

    gasang("network", "capture", "lan", "-w", str(path), "--filter", "nonsense", code=UsageError.exit_code)
    gasang("rm", "-f", "box", "caller")
    assert gasang("network", "rm", "lan").strip() == "lan"
