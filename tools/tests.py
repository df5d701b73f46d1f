"""Run all tests, in stages: ``make test``. Lanes of a stage run side by side, where nothing of one can disturb the other.

What looks at the whole host (mounts, namespaces, control groups, processes, times) has the host for itself, but for the machine in QEMU:
that is a process with one processor. The last lane of a stage shows its progress as it comes, the others when they have ended. A few
tests that fail are named, and run once more when the stage has ended, with nothing beside them: who fails then has failed. The first
stage in which something fails is the last.
"""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FEW: Final = 3
"""So many tests of a lane may have failed for want of a processor; where more have, there is another reason."""
FAILED: Final = 1
"""pytest's exit code where tests failed."""


class Lane(NamedTuple):
    """A run of pytest: its name, and what it is given."""

    name: str
    words: tuple[str, ...]


PURE = (
    "tests/accel", "tests/benchmarks", "tests/cli", "tests/contracts", "tests/core", "tests/cpus", "tests/devices", "tests/guests",
    "tests/images", "tests/kinds/vm", "tests/native", "tests/programs", "tests/storage", "tests/test_documents.py", "tests/tools",
)  # fmt: skip
"""They have files of their own and nothing else of the host."""
ALONE = ("tests/e2e", "tests/nested")
DOCKER = "tests/e2e/docker"
STAGES: tuple[tuple[Lane, ...], ...] = (
    (Lane("end to end", ("tests/e2e", f"--ignore={DOCKER}")), Lane("rooms", PURE)),
    (Lane("rooms of the host", ("tests", *(f"--ignore={path}" for path in (*PURE, *ALONE)))),),
    (Lane("a real KVM, inside QEMU", ("tests/nested",)), Lane("docker", (DOCKER,))),
)


def main() -> int:
    """The exit code of the first lane that failed."""
    compileall.compile_dir(ROOT / "src", quiet=1)  # else each of a thousand starts does it, where Python is told to keep no bytecode
    for stage in STAGES:
        code = run(stage)
        if code:
            return code
    return 0


def run(stage: Sequence[Lane]) -> int:
    """Run the lanes of a stage; the first exit code that is not 0."""
    print(f"pytest: {', beside '.join(lane.name for lane in reversed(stage))} …", flush=True)
    *quiet, shown = stage
    begun = time.monotonic()
    outputs = [tempfile.TemporaryFile() for _ in quiet]  # noqa: SIM115 - closed with their processes
    running = [(lane, _started(lane, output), output) for lane, output in zip(quiet, outputs, strict=True)]
    try:
        codes = [_started(shown, None).wait()]
        for lane, process, output in running:
            codes.append(process.wait())
            print(f"pytest: {lane.name}, after {time.monotonic() - begun:.0f} s", flush=True)
            _show(output)
        codes = [_alone(lane) if code == FAILED else code for lane, code in zip((shown, *quiet), codes, strict=True)]
    finally:
        for _, process, output in running:
            process.kill()
            process.wait()
            output.close()
    return next((code for code in codes if code), 0)


def _alone(lane: Lane) -> int:
    """The exit code of the tests of a lane that failed, run again with nothing beside them; FAILED where they are more than a few."""
    failed = json.loads((_cache(lane) / "v" / "cache" / "lastfailed").read_bytes())
    if len(failed) > FEW:
        return FAILED
    print(f"pytest: {lane.name}: failed, now alone: {', '.join(failed)}", flush=True)
    return _process(lane, None, "--last-failed", "--last-failed-no-failures=none").wait()


def _cache(lane: Lane) -> Path:
    return ROOT / ".pytest_cache" / lane.name.replace(" ", "-").replace(",", "")


def _process(lane: Lane, output: IO[bytes] | None, *options: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "pytest", "-q", "-o", f"cache_dir={_cache(lane)}", *options, *lane.words]
    return subprocess.Popen(words, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT if output else None)


def _started(lane: Lane, output: IO[bytes] | None) -> subprocess.Popen[bytes]:
    """All of a lane; what failed in earlier runs is forgotten, and counts in none."""
    return _process(lane, output, "--cache-clear")


def _show(output: IO[bytes]) -> None:
    output.seek(0)
    while data := output.read(1 << 16):
        os.write(1, data)


if __name__ == "__main__":
    sys.exit(main())
