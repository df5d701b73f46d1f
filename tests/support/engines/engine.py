"""An engine's daemon as a process: ours, or Debian's dockerd as the golden model. It knows folders and sockets, nothing of the API."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
START_SECONDS = 60
STOP_SECONDS = 60


class EngineError(Exception):
    """A daemon that does not come up; the message ends with what it said last."""


@dataclass
class Engine:
    """A daemon with folders of its own. `pid` is the running process."""

    name: str
    home: Path
    socket: Path
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """What DOCKER_HOST is set to."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """The daemon's process."""
        assert self.process is not None, "the engine is not running"
        return self.process.pid

    @property
    def log(self) -> Path:
        """What the daemon says."""
        return self.home / "daemon.log"

    def start(self) -> float:
        """Start it and wait until it answers; the seconds that took. Raises EngineError."""
        begin = time.monotonic()
        with self.log.open("ab") as said:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={**os.environ, **self.environment},
                start_new_session=True,
                preexec_fn=self.become,
            )
        while not answers(self.socket):
            if self.process.poll() is not None or time.monotonic() - begin > START_SECONDS:
                self.stop()
                raise EngineError(f"{shlex.join(self.command)} does not answer on {self.socket}:\n{self._last_words()}")
            time.sleep(0.01)
        return time.monotonic() - begin

    def become(self) -> None:
        """What the new process does before it is the daemon."""
        dies_with_us()

    def stop(self) -> None:
        """End it as a service manager does; killed if it does not go."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process = None

    def kill(self) -> None:
        """As kill -9 of the daemon: what it started lives on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def dies_with_us() -> None:
    """For a child before it begins: it is asked to end when the thread that started it does, however that ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def answers(path: Path) -> bool:
    """Whether a daemon on the socket answers /_ping with 200."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        try:
            client.connect(os.fspath(path))
            client.sendall(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
            return client.recv(12)[9:12] == b"200"
        except OSError:
            return False


def gasang(home: Path) -> Engine:
    """Ours, from this tree, or as GASANG_DAEMON (a command line) says."""
    command = shlex.split(os.environ.get("GASANG_DAEMON", "")) or [
        sys.executable,
        "-c",
        "import sys; from gasang.cli.main import main; sys.exit(main())",
        "daemon",
    ]
    path = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return Engine("gasang", home, home / "run" / "docker.sock", tuple(command), {"GASANG_HOME": str(home), "PYTHONPATH": path})


def dockerd(home: Path) -> Engine:
    """Debian's docker.io, all of it under `home`; GASANG_DOCKERD_BIN is a folder with another dockerd and containerd.

    It is told nothing that changes what a user sees. It changes the firewall: start it in an `OwnNetwork`.
    """
    folder = os.environ.get("GASANG_DOCKERD_BIN", "")
    path = os.pathsep.join([*filter(None, [folder]), os.environ["PATH"], "/usr/sbin", "/sbin"])
    command = [shutil.which("dockerd", path=path) or "dockerd", "--data-root", str(home / "data"), "--exec-root", str(home / "exec")]
    command += ["--host", f"unix://{home}/docker.sock", "--pidfile", str(home / "pid"), "--cgroup-parent", f"/golden-{os.getpid()}"]
    return Engine("dockerd", home, home / "docker.sock", tuple(command), {"PATH": path})


ENGINES: dict[str, Callable[[Path], Engine]] = {"gasang": gasang, "dockerd": dockerd}


def short_home(name: str) -> Path:
    """A new folder whose path leaves room for socket names (108 bytes)."""
    return Path(tempfile.mkdtemp(prefix=f"{name[:3]}-", dir="/var/tmp"))


class OwnNetwork:
    """A network namespace of our own, with the loopback up: what is started inside, and its ports and rules, are apart from the host's."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self._inside = -1

    def enter(self) -> None:
        """Move the calling thread into it, and with it what it starts later. Raises OSError."""
        if self._inside >= 0:
            self._move(self._inside)
            return
        if self._libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"no network namespace of our own: {os.strerror(ctypes.get_errno())}")
        self._inside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        _loopback_up()

    def leave(self) -> None:
        """Move the calling thread back. Raises OSError."""
        self._move(self._outside)

    def close(self) -> None:
        """Let go of both; the namespace ends with its last process."""
        for namespace in (self._inside, self._outside):
            os.close(namespace)

    def _move(self, namespace: int) -> None:
        if self._libc.setns(namespace, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot change the network namespace: {os.strerror(ctypes.get_errno())}")


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        answer = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sh22x", b"lo", 0))
        flags = struct.unpack_from("h", answer, 16)[0]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))


def remove(home: Path) -> None:
    """Delete a daemon's folder; what is still mounted in it is unmounted first, so that nothing behind a mount is deleted."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((point for point in mounted if point.startswith(f"{home}/")), reverse=True):
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
    shutil.rmtree(home, ignore_errors=True)
