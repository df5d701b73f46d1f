"""Pull an image of 225 MiB (ten layers, 22,000 files) from a local registry until it is unpacked: ours, dockerd's, skopeo's blobs.

    python bench/pull.py [--rounds N] [--scale S] [--write-readme]

The image is made and pushed by us first. The rounds alternate, each from an empty store; shown are the middle of each, and the median of
the rounds' ratios. CPU seconds are those of the puller and its helpers, without the registry: on a machine that does other work too they
say more than wall time. A peer that is not installed is left out (Debian: docker-registry, docker.io, skopeo).
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path[0:1] = [str(ROOT), str(ROOT / "src")]

from bench import figures, readme  # noqa: E402
from bench.figures import Figure, Target  # noqa: E402
from bench.peers import environment, host, load  # noqa: E402
from bench.pull_image import make_image  # noqa: E402

from gasang.host.spread import spread_children  # noqa: E402
from gasang.images.content.content import Content  # noqa: E402
from gasang.images.registry.push import push  # noqa: E402

TARGET = Target("≤", 0.4)
OURS = """
import sys, time
from pathlib import Path
from gasang.images.content.content import Content
from gasang.images.registry.pull import pull
pull(sys.argv[1], Content(Path(sys.argv[2])))
print(time.time(), flush=True)
"""


def wait_until(ready: Callable[[], bool], what: str) -> None:
    """Wait for a server to answer, a minute at most."""
    for _ in range(600):
        if ready():
            return
        time.sleep(0.1)
    sys.exit(f"{what} does not answer")


@contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    """A server, for the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Debian's docker-registry on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (folder / "registry.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\nhttp: {{addr: '{address}'}}\n"
    )

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://{address}/v2/", timeout=1):
                return True
        except OSError:
            return False

    with running(["docker-registry", "serve", str(folder / "registry.yml")], folder / "registry.log"):
        wait_until(answers, "docker-registry")
        yield address


@contextmanager
def docker(folder: Path) -> Iterator[list[str] | None]:
    """A dockerd of our own: the client's command line for it."""
    if not (shutil.which("dockerd") and shutil.which("docker")) or os.geteuid() != 0:
        yield None
        return
    client = ["docker", "-H", f"unix://{folder}/docker.sock"]
    command = [
        "dockerd", "-H", f"unix://{folder}/docker.sock", "--data-root", f"{folder}/docker", "--exec-root", f"{folder}/exec",
        "--pidfile", f"{folder}/docker.pid", "--bridge", "none", "--iptables=false", "--storage-driver", "overlay2",
    ]  # fmt: skip
    with running(command, folder / "dockerd.log"):
        wait_until(lambda: subprocess.run([*client, "info"], capture_output=True, check=False).returncode == 0, "dockerd")
        yield client


Cost = tuple[float, float]
"""Wall and CPU seconds."""


def children_cpu() -> float:
    """CPU seconds of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def tree_cpu(root: int) -> float:
    """CPU seconds of a process, of those below it, and of those of them that have ended."""
    rows = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            rows[int(path.parent.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    wanted, total = [root], 0
    while wanted:
        process = wanted.pop()
        total += rows.get(process, (0, 0))[1]
        wanted += [child for child, (parent, _) in rows.items() if parent == process]
    return total / os.sysconf("SC_CLK_TCK")


def ours(name: str, folder: Path) -> Cost:
    """Our pull, the interpreter's start included; what settles afterwards is not waited for."""
    store = Path(tempfile.mkdtemp(dir=folder))
    start, before = time.time(), children_cpu()
    done = subprocess.run([sys.executable, "-c", OURS, name, str(store)], env=environment(), check=True, capture_output=True, text=True)
    after = children_cpu()
    shutil.rmtree(store)
    return float(done.stdout) - start, after - before


def dockers(name: str, client: list[str], folder: Path) -> Cost:
    """`docker pull`."""
    daemon = int((folder / "docker.pid").read_text())
    start, before = time.time(), tree_cpu(daemon)
    subprocess.run([*client, "pull", "-q", name], check=True, capture_output=True)
    end, after = time.time(), tree_cpu(daemon)
    subprocess.run([*client, "rmi", name], check=True, capture_output=True)
    return end - start, after - before


def skopeos(name: str, folder: Path) -> Cost:
    """The blobs alone."""
    target = tempfile.mkdtemp(dir=folder)
    start, before = time.time(), children_cpu()
    command = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"dir:{target}"]
    subprocess.run(command, check=True)
    end, after = time.time(), children_cpu()
    shutil.rmtree(target)
    return end - start, after - before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write-readme", action="store_true", help="put the table into bench/README.md")
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    if shutil.which("docker-registry") is None:
        sys.exit("docker-registry is needed (Debian package docker-registry)")
    facts = host()
    with tempfile.TemporaryDirectory(prefix="gasang-pull-", ignore_cleanup_errors=True) as text:
        folder = Path(text)
        spread_children(folder)
        with registry(folder) as address, docker(folder) as client:
            name = f"{address}/bench/app:1"
            content = Content(folder / "source")
            size = make_image(content, name, scale=options.scale)
            push(name, content)
            print(f"image: {size / 2**20:.0f} MiB compressed; load {load()}", flush=True)
            found = measure(name, folder, client, options.rounds)
    print(figures.as_text(found, "dockerd"))
    if options.write_readme:
        readme.write("bench/pull.py", figures.as_markdown(found, "dockerd"), {**facts, "load after": load()})


def measure(name: str, folder: Path, client: list[str] | None, rounds: int) -> list[Figure]:
    """The rounds, alternating."""
    runs: dict[str, Callable[[], Cost]] = {"gasang": lambda: ours(name, folder)}
    if client is not None:
        runs["dockerd"] = lambda: dockers(name, client, folder)
    if shutil.which("skopeo"):
        runs["skopeo, blobs alone"] = lambda: skopeos(name, folder)
    costs: dict[str, list[Cost]] = {who: [] for who in runs}
    for number in range(rounds):
        for who, run in runs.items():
            os.sync()  # each begins with nothing of the one before to be written
            costs[who].append(run())
        shown = ", ".join(f"{who} {values[-1][0]:.2f} s (CPU {values[-1][1]:.2f})" for who, values in costs.items())
        print(f"round {number + 1}: {shown}", flush=True)
    return [_figure(what, index, costs) for index, what in enumerate(("wall", "CPU"))]


def _figure(what: str, index: int, costs: dict[str, list[Cost]]) -> Figure:
    """A line of the report: wall or CPU seconds."""
    taken = {who: [cost[index] for cost in values] for who, values in costs.items()}
    theirs = taken.get("dockerd")
    ratio = median(mine / other for mine, other in zip(taken["gasang"], theirs, strict=True)) if theirs else None
    others = [f"{who}: {median(values):.2f}" for who, values in taken.items() if who not in ("gasang", "dockerd")]
    note = "; ".join([f"least of ours {min(taken['gasang']):.2f}", *others])
    target = TARGET if what == "wall" else None
    return Figure(f"pull and unpack: {what}", "s", median(theirs) if theirs else None, median(taken["gasang"]), ratio, target, note)


if __name__ == "__main__":
    main()
