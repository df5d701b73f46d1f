"""Inside the machine with a real KVM: Debian's stock kernel from the command to userspace, by ours and by QEMU in turn.

    python3 -m bench.measures.kvm.peers RUNS

Reports a JSON object a boot on the machine's line.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from bench.measures.kvm.patching import patched_once

from support.nested.line import Line

KERNEL, GUEST = "/lane/vmlinuz", "/tmp/guest.cpio"
APPEND = "console=ttyS0 quiet panic=-1"
MEMORY = 256
SAYS = b"userspace"
COMMANDS = {
    "gasang": ["python3", "-m", "bench.measures.kvm.ours", KERNEL, GUEST, APPEND, str(MEMORY)],
    "qemu": [
        "qemu-system-x86_64", "-M", "microvm", "-accel", "kvm", "-cpu", "host", "-m", str(MEMORY), "-no-user-config", "-nodefaults",
        "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", KERNEL, "-initrd", GUEST, "-append", APPEND,
    ],
}  # fmt: skip


def boot(command: list[str]) -> tuple[float, bytes]:
    """Seconds until the guest says the word, and all it said; -1 where it never did."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    said = b""
    begin = time.monotonic()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    ) as process:
        assert process.stdout is not None
        while SAYS not in said and (data := os.read(process.stdout.fileno(), 4096)):
            said += data
        taken = time.monotonic() - begin
        process.kill()
    return (taken if SAYS in said else -1.0), said


def main(runs: int) -> None:
    """One untimed boot of each, then so many in turn."""
    init = f'#!/bin/busybox sh\necho {SAYS.decode()}\n/bin/busybox sleep 1000\n'
    from gasang.images.cpio import archive
    from gasang.storage.tree import Entry, Kind

    made = archive([Entry(path="init", kind=Kind.FILE, mode=0o755, data=init.encode())])
    Path(GUEST).write_bytes(Path("/lane/guest.cpio").read_bytes() + made)
    line = Line()
    with patched_once():
        for number in range(runs + 1):
            for name, command in COMMANDS.items():
                seconds, said = boot(command)
                line.tell(event="boot", peer=name, warm=number == 0, seconds=seconds, said=said.decode(errors="replace")[-2000:])
    line.tell(event="end")


if __name__ == "__main__":
    main(int(sys.argv[1]))
