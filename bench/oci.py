"""One container that runs `true`: created, started, waited for and deleted, by our Python API and by `runc run`, in turn.

python bench/oci.py [--runs N] [--peer runc] [--write-readme]     # as root; needs runc (or crun) and a static busybox

Both get the same configuration, as an engine would write it: its own pid, network, ipc, uts, mount and cgroup namespaces, full /dev,
/proc and /sys, masked and read-only paths, Docker's default capabilities and seccomp rules, control groups in every hierarchy. Ours mounts
its overlay itself, in the time that is taken; the peer finds one mounted, which is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from bench import figures, peers, readme
from bench.figures import Figure, Target

from gasang.host.syscalls import machine_name
from gasang.kinds.container.config.config import read_config
from gasang.kinds.container.config.seccomp import ACTIONS, ARCHITECTURES, WITH_NUMBER
from gasang.kinds.container.container import Container, Streams
from gasang.kinds.container.planning.order import OverlayRoot
from gasang.kinds.container.seccomp.profile import default_profile
from gasang.kinds.container.template import template

CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP", "NET_BIND_SERVICE",
    "SYS_CHROOT", "KILL", "AUDIT_WRITE",
)  # fmt: skip
MASK = 0xA80425FB
TARGET = Target("≤", 0.3)


def seccomp() -> dict[str, Any]:
    """The default rules as a configuration has them."""
    profile = default_profile(MASK, machine_name())
    names = {value: name for name, value in ACTIONS.items()}
    architectures = {value: name for name, value in ARCHITECTURES.items()}

    def action(value: int, key: str) -> dict[str, Any]:
        plain = value & 0xFFFF0000
        return {key: names[plain]} | ({"errnoRet": value & 0xFFFF} if plain in WITH_NUMBER and key == "action" else {})

    rules = [
        {
            "names": list(rule.names),
            **action(rule.action, "action"),
            "args": [
                {"index": c.index, "op": f"SCMP_CMP_{c.operator}", "value": c.value, "valueTwo": c.second} for c in rule.conditions
            ],
        }
        for rule in profile.rules
    ]
    return {
        **action(profile.default, "defaultAction"), "defaultErrnoRet": 1,
        "architectures": [architectures[name] for name in profile.architectures], "syscalls": rules,
    }  # fmt: skip


def configuration() -> dict[str, Any]:
    """What both run."""
    made = template()
    names = [f"CAP_{name}" for name in CAPABILITIES]
    made["process"].update(terminal=False, args=["true"], noNewPrivileges=False)
    made["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), names)
    made["root"]["readonly"] = False
    made["linux"]["seccomp"] = seccomp()
    made["linux"]["cgroupsPath"] = "/gasang-bench"
    return made


def make_root(root: Path) -> None:
    """A root file system of one program."""
    (root / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", root / "bin/busybox")
    (root / "bin/true").symlink_to("busybox")


def ours(text: str, folder: Path, silent: int) -> Callable[[], None]:
    """A run by the Python API."""
    config = read_config(text)
    for name in ("upper", "work", "merged"):
        (folder / name).mkdir()
    root = OverlayRoot([str(folder / "lower")], str(folder / "upper"), str(folder / "work"), str(folder / "merged"))

    def once() -> None:
        container = Container.create(config, root, identity="gasang-bench", streams=Streams((silent, silent, silent)))
        container.start()
        code = container.wait().code
        container.delete()
        if code or container.warnings:
            raise SystemExit(f"ours ended with {code}, {container.warnings}")

    return once


def theirs(peer: str, text: str, folder: Path, silent: int) -> Callable[[], None]:
    """A run by a peer, on an overlay mounted beforehand."""
    for name in ("upper-peer", "work-peer", "rootfs"):
        (folder / name).mkdir()
    options = f"lowerdir={folder}/lower,upperdir={folder}/upper-peer,workdir={folder}/work-peer"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(folder / "rootfs")], check=True)
    (folder / "config.json").write_text(text)

    def once() -> None:
        subprocess.run([peer, "run", "--bundle", str(folder), "gasang-bench"], check=True, stdout=silent, stderr=silent, stdin=silent)

    return once


def measure(runs: int, peer: str) -> Figure:
    """Both medians in milliseconds, and the median of the rounds' ratios."""
    text = json.dumps(configuration())
    folder = Path(tempfile.mkdtemp(prefix="gasang-bench-"))
    silent = os.open(os.devnull, os.O_RDWR)
    make_root(folder / "lower")
    try:
        sides = {peer: theirs(peer, text, folder, silent), "gasang": ours(text, folder, silent)}
        times: dict[str, list[float]] = {name: [] for name in sides}
        for index in range(runs + 1):
            for name, once in sides.items():
                begin = time.perf_counter()
                once()
                if index:  # the first of each is to fill caches
                    times[name].append((time.perf_counter() - begin) * 1000)
        ratio = median(mine / other for mine, other in zip(times["gasang"], times[peer], strict=True))
        note = f"least: {min(times[peer]):.1f} and {min(times['gasang']):.1f}"
        return Figure("a container that runs true", "ms", median(times[peer]), median(times["gasang"]), ratio, TARGET, note)
    finally:
        subprocess.run(["umount", str(folder / "rootfs")], check=False)
        shutil.rmtree(folder)
        os.close(silent)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--peer", default="runc")
    parser.add_argument("--write-readme", action="store_true", help="put the table into bench/README.md")
    words = parser.parse_args()
    facts = peers.host()
    found = [measure(words.runs, words.peer)]
    print(figures.as_text(found, words.peer))
    if words.write_readme:
        readme.write("bench/oci.py", figures.as_markdown(found, words.peer), {**facts, "load after": peers.load()})


if __name__ == "__main__":
    main()
