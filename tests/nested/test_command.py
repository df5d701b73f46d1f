"""`gasang run --vm` under a real KVM as a user types it: in the foreground, with input, output, errors and an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
PROGRAM = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from gasang.cli.main import main
from gasang.kinds.vm import pull
from support.nested.images import image_files
pull.boot_files = lambda *words, **more: image_files("cloud")  # the image lies here, and in no store
sys.exit(main())
"""
SCRIPT = 'read line; echo "$line $(uname -m)"; dmesg | grep -c "Hypervisor detected: KVM"; echo complaint >&2; exit 7'


def test_run_as_it_is_typed(tmp_path: Path) -> None:
    words = ["run", "--vm", "-i", "--accel", "kvm", "--network", "none", "--memory", "320M", "debian:lane", "sh", "-c", SCRIPT]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], input=b"hello\n", capture_output=True, check=False, timeout=120,
        env={"GASANG_HOME": str(tmp_path), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": ":".join(filter(None, sys.path))},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (7, b"hello x86_64\n1\n", b"complaint\n"), done
