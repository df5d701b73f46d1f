"""Make a machine ready for ``make demo`` and ``make test``: Debian packages where we may, and a virtual environment.

Run with any Python 3.8 or newer and nothing else; it does what is missing, says what it does, and is over in a moment, without
network, where nothing is. What it cannot do (no root, no apt) it tells, with the command that would; tests that need it are skipped.

    python3 tools/setup.py demo|test|bench
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".gasang-setup"
OLDEST_PYTHON = (3, 11)
DEMO = ("gpgv", "debian-archive-keyring", "busybox-static")
TEST = (
    *DEMO,
    "acpica-tools",
    "cpio",
    "cryptsetup-bin",
    "device-tree-compiler",
    "docker-registry",
    "docker.io",
    "e2fsprogs",
    "fish",
    "gcc",
    "gcc-riscv64-linux-gnu",
    "gnupg",
    "iproute2",
    "iptables",
    "libc6-dev",
    "libc6-dev-riscv64-cross",
    "linux-libc-dev",
    "nftables",
    "qemu-system-misc",
    "qemu-system-x86",
    "qemu-user-static",
    "qemu-utils",
    "skopeo",
    "sqv",
    "systemd",
    "tcpdump",
    "uidmap",
    "zsh",
)
BENCH = (*TEST, "iperf3", "runc")
PACKAGES = {"demo": DEMO, "test": TEST, "bench": BENCH}
NOT_IN_ALL_SUITES = ("sqv",)
ALSO_FROM_ELSEWHERE = {"docker.io": "dockerd"}  # Docker's own packages have the program too, and apt would take them away
USUAL_PYTHON_PACKAGES = 56  # what pip names while it installs; the base of its time estimate
APT = ("apt-get", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3")


class Report:
    """Progress of one step: one line that changes on a terminal, a line every few seconds elsewhere."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.start = time.monotonic()
        self.shown = self.start
        self.live = sys.stdout.isatty()
        print(f"{what} …", end="" if self.live else "\n", flush=True)

    def at(self, fraction: float, now_doing: str = "") -> None:
        """Tell that `fraction` of the step is done, with the time it will still take by what it took so far."""
        now = time.monotonic()
        if now - self.shown < (0.2 if self.live else 5.0):
            return
        self.shown = now
        left = (now - self.start) / fraction * (1 - fraction) if fraction > 0.02 else None
        estimate = f", about {left:.0f} s left" if left is not None else ""
        text = f"{self.what}: {fraction:.0%}{estimate}  {now_doing}".rstrip()
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{text[:width]}", end="", flush=True)
        else:
            print(f"  {text}", flush=True)

    def done(self) -> None:
        """Tell that the step is done."""
        end = f"{self.what}: done in {time.monotonic() - self.start:.0f} s"
        print(f"\r\x1b[K{end}" if self.live else f"  {end}", flush=True)


def fail(sentence: str) -> None:
    """Say why the machine cannot be made ready, and stop."""
    sys.exit(f"setup: {sentence}")


def missing_packages(wanted: tuple[str, ...]) -> list[str]:
    """Those of the Debian packages `wanted` that are not installed."""
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted],
        capture_output=True,
        text=True,
        check=False,
    )
    installed = {line.split()[0] for line in answer.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in wanted if package not in installed]


def that_exist(packages: list[str]) -> list[str]:
    """`packages` without those that this suite of Debian does not have and we can do without."""
    return [package for package in packages if package not in NOT_IN_ALL_SUITES or is_known(package)]


def is_known(package: str) -> bool:
    """Whether apt's lists have the package."""
    return subprocess.run(["apt-cache", "show", package], capture_output=True, check=False).returncode == 0


def apt(report: Report, *arguments: str) -> str:
    """Run apt-get and follow its progress (APT::Status-Fd); the tail of its output if it fails, else ""."""
    read, write = os.pipe()
    command = [*APT, "-o", f"APT::Status-Fd={write}", *arguments]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    log = VENV.parent / ".setup.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment, pass_fds=[write]
        )
        os.close(write)
        with os.fdopen(read, errors="replace") as status:
            for line in status:
                kind, _, rest = line.partition(":")
                fields = rest.split(":")
                if kind in ("dlstatus", "pmstatus") and len(fields) >= 3:
                    # Downloading is taken as the first half; apt counts each phase from 0 to 100.
                    base = 0.0 if kind == "dlstatus" else 0.5
                    report.at(base + float(fields[1]) / 200, fields[2].strip())
        code = process.wait()
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
    log.unlink()
    return "" if code == 0 else tail or f"apt-get ended with {code}"


def install_debian_packages(wanted: tuple[str, ...]) -> None:
    """Install what is missing; where we may not, tell how and go on."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-query")):
        print(f"No apt-get here: tests that need one of {', '.join(wanted)} are skipped unless you install it.")
        return
    missing = [package for package in missing_packages(wanted) if not shutil.which(ALSO_FROM_ELSEWHERE.get(package, ""))]
    known = that_exist(missing)
    if not known:
        return
    if os.geteuid() != 0:
        print(f"Not root, so these stay missing: sudo apt-get install {' '.join(known)}")
        return
    report = Report(f"Debian packages ({', '.join(known)})")
    if apt(report, "install", *known):
        # The lists are missing or old: only now are they worth a download.
        trouble = apt(report, "update") or apt(report, "install", *that_exist(missing))
        if trouble:
            print(trouble)
            fail("apt-get could not install the packages above; mend that and run make again")
    report.done()


def requirements() -> list[str]:
    """The development tools of pyproject.toml: pip before 25.1 cannot read its dependency groups."""
    import tomllib

    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    group: list[str] = content["dependency-groups"]["dev"]
    return group


def fingerprint() -> str:
    """What the virtual environment depends on: when this changes it is brought up to date."""
    import tomllib

    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = content["project"]
    parts = (sys.version, str(ROOT), project["dependencies"], project["scripts"], content["dependency-groups"])
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def pip_install(python: Path) -> None:
    """Install gasang from this tree and the development tools into the virtual environment."""
    report = Report("Python packages (llvmlite, rich, pytest, mypy …)")
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", "--editable", str(ROOT)]
    process = subprocess.Popen(
        [*command, *requirements()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, cwd=ROOT
    )
    lines: list[str] = []
    named: set[str] = set()
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        words = line.split()
        if words[:1] == ["Collecting"] or words[:2] == ["Requirement", "already"]:
            named.add(words[1] if words[0] == "Collecting" else words[2])
        report.at(min(0.9, len(named) / USUAL_PYTHON_PACKAGES), " ".join(words[:2]))
    if process.wait() != 0:
        print("".join(lines[-20:]))
        fail("pip could not install the packages above; check the network and run make again")
    report.done()


def make_environment() -> None:
    """A virtual environment in .venv with gasang and its tools, brought up to date only when what it depends on changed."""
    wanted = fingerprint()
    python = VENV / "bin" / "python"
    if STAMP.is_file() and STAMP.read_text() == wanted and python.exists():
        return
    report = Report("Virtual environment (.venv)")
    works = python.exists() and subprocess.run([str(python), "-c", ""], check=False).returncode == 0
    answer = subprocess.run(
        [sys.executable, "-m", "venv", *([] if works else ["--clear"]), str(VENV)], capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        print(answer.stdout + answer.stderr)
        fail("no virtual environment could be made; on Debian install python3-venv, then run make again")
    report.done()
    pip_install(python)
    STAMP.write_text(wanted)


def main() -> None:
    """Do what the purpose named on the command line needs."""
    purpose = sys.argv[1] if len(sys.argv) > 1 else "test"
    if purpose not in PACKAGES:
        fail(f"there is no purpose {purpose!r}; choose one of {', '.join(PACKAGES)}")
    if sys.version_info < OLDEST_PYTHON:
        fail(f"gasang needs Python 3.11 or newer and {sys.executable} is {sys.version.split()[0]}; name another: make PYTHON=python3.12")
    lacks_venv = importlib.util.find_spec("ensurepip") is None
    install_debian_packages((*PACKAGES[purpose], *(["python3-venv"] if lacks_venv else [])))
    make_environment()


if __name__ == "__main__":
    main()
