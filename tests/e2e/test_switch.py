"""Two virtual machines without privilege, at one switch in user space."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from gasang.core.paths import cache_folder
from gasang.native.cache import default_directory
from support.debian_guest import IMAGE

SERVER = (
    "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => 80, Listen => 9, ReuseAddr => 1); $c = $s->accept; "
    "print $c 'x' x 300000, qq(hello\\n); shutdown $c, 1; <$c>"
)
CALLER = "for i in $(seq 90); do (exec 3<>/dev/tcp/10.9.0.1/80; cat <&3) 2>/dev/null && break; sleep 0.3; done | tail -c 8"


def test_two_machines_meet_at_a_switch(tmp_path: Path) -> None:
    """What they send is joined segments, which each of them takes; needs a Debian mirror for the image."""
    home = cache_folder(os.environ) / "tests"
    environment = {**os.environ, "GASANG_HOME": str(home), "GASANG_NATIVE_CACHE": str(default_directory())}
    gasang = [sys.executable, "-m", "gasang"]
    subprocess.run([*gasang, "pull", IMAGE], capture_output=True, timeout=1500, check=True, env=environment)
    path = tmp_path / "lan"
    words = [*gasang, "network", "switch", str(path)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment, text=True) as switch:
        assert switch.stderr is not None
        assert "the switch is at" in switch.stderr.readline()

        def machine(address: str, *command: str) -> subprocess.Popen[str]:
            at = ["--network", f"name=switch:{path},ip={address}/24"]
            words = [*gasang, "run", "--vm", *at, IMAGE, "--", *command]
            return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment, text=True)

        with machine("10.9.0.1", "perl", "-e", SERVER), machine("10.9.0.2", "bash", "-c", CALLER) as caller:
            assert caller.communicate(timeout=100)[0].strip().endswith("xxhello")
        switch.send_signal(signal.SIGINT)
        said = switch.stderr.read()
        assert switch.wait(20) == 0
    assert said.count("connected") == said.count("gone") == 2
    assert not path.exists()
