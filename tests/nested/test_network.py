"""A Linux guest under a real KVM reaches its host by virtio-net on PCI, with the network in user space behind it."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

from nested.test_command import PROGRAM

SIZE = 2 << 20
CHECKSUMS = 0
"""The bit of virtio-net's features: VIRTIO_NET_F_CSUM (virtio 1.2, 5.1.3)."""
SCRIPT = r"""
cat /sys/class/net/eth0/device/features
sha256sum </dev/tcp/10.0.2.2/{port}
head -c {size} /dev/zero >/dev/tcp/10.0.2.2/{port}
grep -cE ' PCI-MSI .*virtio[0-9]+-(input|output)\.0' /proc/interrupts
"""


def test_bytes_go_both_ways(tmp_path: Path) -> None:
    data, heard = os.urandom(SIZE), []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(100)

        def serve() -> None:
            first, _ = server.accept()
            with first:
                first.sendall(data)
            second, _ = server.accept()
            with second:
                heard.append(sum(iter(lambda: len(second.recv(1 << 16)), 0)))

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        script = SCRIPT.format(port=server.getsockname()[1], size=SIZE)
        words = ["run", "--vm", "--accel", "kvm", "--network", "user,host=allow", "--memory", "320M", "debian:lane", "bash", "-c", script]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *words], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=110, text=True,
            env={"GASANG_HOME": str(tmp_path), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": ":".join(filter(None, sys.path))},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), done
        serving.join(10)
    features, digest, interrupts = done.stdout.split("\n", 2)
    assert features[CHECKSUMS] == "1"
    assert digest.split()[0] == hashlib.sha256(data).hexdigest()
    assert heard == [SIZE]
    assert interrupts.strip() == "2"
