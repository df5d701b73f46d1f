"""A machine's jail: what code that runs in it can see, open and call; and that the processes of machines and twins are in it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gasang.core.errors import UnsupportedError
from gasang.kinds.vm.process import jail
from gasang.kinds.vm.process.told import READY
from gasang.kinds.vm.x86.bzimage import ENTRY_64
from support.bzimages import bzimage
from support.kvm_guests import needs_kvm
from support.machine_processes import Machine, Machines

NO_PROCESS = 1 << 22
"""Above every process id that the host gives."""
TRIAL = """
import ctypes, json, os, socket, sys, threading
from pathlib import Path
from gasang.host.confining import Place
from gasang.host.syscalls import number
from gasang.kinds.vm.process import jail
from gasang.kinds.vm.process.reach import prepare
from gasang.kinds.vm.process.settings import MachineSettings

folder = Path(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *words):
    made = [ctypes.c_void_p(word) if isinstance(word, int) else word for word in words]
    return ctypes.get_errno() if libc.syscall(number(name), *made) < 0 else 0

def refused(work, *words, **named):
    try:
        work(*words, **named)
    except OSError as error:
        return error.errno
    return 0

def enter(**named):
    settings = MachineSettings(kernel=sys.argv[2], **named)
    return jail.enter(prepare(folder, settings), folder, serves_folders=bool(settings.folders))

def status():
    lines = Path("/proc/self/status").read_text().splitlines()
    return dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)
"""


def inside(tmp_path: Path, code: str, *more: str) -> Any:
    """What a process of its own says that goes to jail, as `code` wants it, by `print(json.dumps(…))`."""
    folder = tmp_path / "machines" / "one"
    folder.mkdir(parents=True, exist_ok=True)
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"kernel")
    words = [sys.executable, "-P", "-c", TRIAL + textwrap.dedent(code), str(folder), str(kernel), *more]
    done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_all_of_it_holds_here(tmp_path: Path) -> None:
    assert inside(tmp_path, "print(json.dumps(enter()))") == {}


def test_it_sees_no_files_but_its_own(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines" / "kept").write_text("before")
    found = inside(
        tmp_path,
        """
        enter()
        (folder / "made").write_text("x")
        print(json.dumps({
            "top": sorted(os.listdir("/")), "home": os.path.exists(Path.home() / ".ssh"),
            "secret": (folder.parent.parent / "secret").exists(),
            "kernel": Path(sys.argv[2]).read_text(), "kernel written": refused(os.open, sys.argv[2], os.O_WRONLY),
            "root written": refused(os.mkdir, "/new"), "library": refused(os.open, os.__file__, os.O_WRONLY),
            "above": sorted(os.listdir("/../..")), "setting": refused(os.open, "/proc/sys/kernel/core_pattern", os.O_WRONLY),
        }))
        """,
    )
    ours = {Path(part).parts[1] for part in (*sys.path, sys.prefix, tmp_path) if Path(part).is_absolute()}
    assert not {"etc", "dev", "sys", "boot", "run", "var", "bin"} & set(found["top"]) - ours
    assert found["above"] == found["top"]
    assert (found["home"], found["secret"]) == (False, False)
    assert found["kernel"] == "kernel"
    assert {found[name] for name in ("kernel written", "root written", "library", "setting")} == {30}  # EROFS
    assert (tmp_path / "machines" / "one" / "made").read_text() == "x"


def test_what_it_is_given_it_reaches(tmp_path: Path) -> None:
    shared, disk, target = tmp_path / "shared", tmp_path / "disk", tmp_path / "target"
    shared.mkdir()
    (shared / "a").write_text("a")
    target.write_bytes(b"disk")
    disk.symlink_to(target)
    found = inside(
        tmp_path,
        f"""
        enter(image="", disks=(({str(disk)!r}, False),), folders=(({str(shared)!r}, "/mnt", True),))
        print(json.dumps([os.listdir({str(shared)!r}), refused(os.mkdir, {str(shared / "b")!r}), Path({str(disk)!r}).write_bytes(b"new")]))
        """,
    )
    assert found == [["a"], 30, 3]
    assert target.read_bytes() == b"new"


def test_it_sees_no_process_and_no_network(tmp_path: Path) -> None:
    found = inside(
        tmp_path,
        """
        before = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "net", "ipc", "uts")}
        enter()
        print(json.dumps({
            "processes": [int(name) for name in os.listdir("/proc") if name.isdecimal()], "own": os.getpid(),
            "interfaces": [line.split(":")[0].strip() for line in Path("/proc/self/net/dev").read_text().splitlines()[2:]],
            "same": [kind for kind in before if before[kind] == os.readlink(f"/proc/self/ns/{kind}")],
            "inet": refused(socket.socket, socket.AF_INET), "netlink": refused(socket.socket, socket.AF_NETLINK),
            "unix": refused(socket.socketpair),
        }))
        """,
    )
    assert found["processes"] == [found["own"]]
    assert (found["interfaces"], found["same"]) == (["lo"], [])
    assert (found["inet"], found["netlink"], found["unix"]) == (1, 1, 0)


def test_it_has_no_capability_and_gets_none(tmp_path: Path) -> None:
    found = inside(tmp_path, "enter()\nprint(json.dumps(status()))")
    assert {found[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd")} == {"0" * 16}
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


def test_who_serves_folders_keeps_what_files_of_others_need(tmp_path: Path) -> None:
    code = f"enter(folders=(({str(tmp_path)!r}, '/mnt', False),))\nprint(json.dumps(status()))"
    assert int(inside(tmp_path, code)["CapEff"], 16) == 0b11111


FORBIDDEN = (
    "'execve', b'/bin/true', None, None", f"'kill', {NO_PROCESS}, 9", f"'ptrace', 16, {NO_PROCESS}, 0, 0", "'unshare', 0x10000000",
    "'setns', 0, 0", "'mount', b'x', b'/', b'tmpfs', 0, None", "'umount2', b'/', 2", "'chroot', b'/'", "'pivot_root', b'.', b'.'",
    "'bpf', 0, None, 0", "'keyctl', 0, 0, 0, 0, 0", "'perf_event_open', None, 0, 0, 0, 0", "'process_vm_readv', 1, None, 0, None, 0, 0",
    f"'pidfd_open', {NO_PROCESS}, 0", "'io_uring_setup', 1, None", "'userfaultfd', 0", "'init_module', None, 0, b''",
    "'reboot', 0, 0, 0, None",
    "'clone', 0x10000000 | 17, 0, 0, 0, 0", f"'tgkill', {NO_PROCESS}, {NO_PROCESS}, 9", f"'prlimit64', {NO_PROCESS}, 0, None, None",
    "'open_by_handle_at', 0, None, 0", "'setuid', 0", "'prctl', 4, 1, 0, 0, 0", "'seccomp', 1, 0, None", "'personality', 8",
    "'swapoff', b'/'",
    f"'sched_setaffinity', {NO_PROCESS}, 8, b'11111111'", "'syslog', 3, None, 0", "'settimeofday', None, None",
)  # fmt: skip


def test_calls_that_it_does_not_need_are_refused(tmp_path: Path) -> None:
    tried = ", ".join(f"call({words})" for words in FORBIDDEN)
    found = inside(tmp_path, f"enter()\nprint(json.dumps([{tried}]))")
    assert dict(zip(FORBIDDEN, found, strict=True)) == dict.fromkeys(FORBIDDEN, 1)  # EPERM, before anybody looks at what is wrong with them


def test_what_machines_do_is_allowed(tmp_path: Path) -> None:
    found = inside(
        tmp_path,
        """
        import mmap, signal, tempfile, resource, selectors, time
        enter()
        def thread():
            made = threading.Thread(target=lambda: done.append(1))
            made.start(); made.join()
        def fork():
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
        done = []
        (folder / "a").touch()
        place = os.open(folder, os.O_RDONLY)
        works = {
            "thread": thread, "fork": fork, "memfd": lambda: os.memfd_create("x"), "code": lambda: mmap.mmap(-1, 4096, prot=7),
            "kick": lambda: signal.pthread_kill(threading.get_ident(), signal.SIGURG),
            "poll": lambda: selectors.DefaultSelector().select(0),
            "listen": lambda: socket.socket(socket.AF_UNIX).bind(f"/proc/self/fd/{place}/s"), "sleep": lambda: time.sleep(0.001),
            "link": lambda: os.link(folder / "a", folder / "b"), "chance": lambda: os.urandom(8),
            "pagemap": lambda: open("/proc/self/pagemap", "rb").close(), "limits": lambda: resource.getrlimit(resource.RLIMIT_NOFILE),
            "memory": lambda: open("/proc/self/smaps_rollup").read(), "host": lambda: open("/proc/meminfo").read(),
            "import": lambda: __import__("sqlite3"),
        }
        print(json.dumps({name: code for name, work in works.items() if (code := refused(work))}))
        """,
    )
    assert found == {}


def test_a_process_with_threads_is_told(tmp_path: Path) -> None:
    code = "held = threading.Event()\nthreading.Thread(target=held.wait, daemon=True).start()\nprint(json.dumps(enter()))"
    found = inside(tmp_path, code)
    assert set(found) == set(jail.PARTS)
    assert found["files"] == "the process has 2 threads already"


def test_what_the_host_forbids_is_told_and_the_rest_is_done(tmp_path: Path) -> None:
    code = """
    from gasang.host import confining
    def no(*words):
        raise PermissionError(1, "Operation not permitted")
    confining.new_namespaces = no
    found = enter()
    print(json.dumps([found, status()["CapEff"], status()["Seccomp"], os.path.exists("/etc")]))
    """
    found, rights, filtered, outside = inside(tmp_path, code)
    assert found == dict.fromkeys(("namespaces", "files"), "Operation not permitted")
    assert (rights, filtered, outside) == ("0" * 16, "2", True)


def test_a_root_that_cannot_be_made_leaves_the_hosts(tmp_path: Path) -> None:
    code = """
    from gasang.host import confining
    def no(*words):
        raise PermissionError(1, "Operation not permitted")
    confining._furnish = no
    found = enter()
    (folder / "made").write_text("x")
    print(json.dumps([found, os.path.exists("/etc")]))
    """
    assert inside(tmp_path, code) == [{"files": "Operation not permitted"}, True]
    assert (tmp_path / "machines" / "one" / "made").exists()


SEEN = """
print(json.dumps([enter(), sorted(os.listdir("/")), status()["CapEff"], status()["Seccomp"],
                  refused(os.open, "/proc/sys/kernel/core_pattern", os.O_WRONLY), refused(os.kill, 1 << 22, 9)]))
"""


USERS = """
from gasang.host import confining
own = Path(sys.argv[3])
import codecs
jail.program(jail.machine_name()), codecs.lookup("ascii")  # the user cannot read what that imports
os.chown(own, 4242, 4242)
os.setgroups([]); os.setresgid(4242, 4242, 4242); os.setresuid(4242, 4242, 4242)
confining.be_opaque(opaque=False)  # as it is after a program was executed

def enter():
    return jail.enter([Place(own, writable=True)], own, serves_folders=False)
"""


@pytest.fixture
def users_folder() -> Iterator[Path]:
    """One that any user can reach."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_user_has_a_user_namespace(tmp_path: Path, users_folder: Path) -> None:
    code = USERS + "found = enter()\n(own / 'made').touch()\n" + SEEN.replace("enter()", "found")
    lacking, top, rights, calls, setting, kill = inside(tmp_path, code, str(users_folder))
    assert lacking == {}
    assert top == ["proc", "var"]
    assert (rights, calls, setting, kill) == ("0" * 16, "2", 13, 1)
    assert (users_folder / "made").stat().st_uid == 4242


def test_below_a_user_namespace(tmp_path: Path) -> None:
    before = "from gasang.host import confining\nconfining.new_namespaces(0x10020000)\n"
    lacking, top, rights, calls, setting, kill = inside(tmp_path, before + SEEN)
    assert lacking == {}
    assert not {"etc", "dev", "sys", "run"} & set(top)
    assert (rights, calls, setting, kill) == ("0" * 16, "2", 30, 1)


def test_a_host_without_user_namespaces_for_users(tmp_path: Path, users_folder: Path) -> None:
    code = """
    def no(*words):
        raise PermissionError(1, "Operation not permitted")
    confining.new_namespaces = no
    print(json.dumps([enter(), os.path.exists("/etc"), status()["Seccomp"]]))
    """
    found = inside(tmp_path, USERS + textwrap.dedent(code), str(users_folder))
    assert found == [dict.fromkeys(("namespaces", "files"), "Operation not permitted"), True, "2"]


def test_it_can_be_demanded() -> None:
    jail.demand({})
    with pytest.raises(UnsupportedError, match="files of its own \\(no room\\)"):
        jail.demand({"files": "no room"})


def test_what_holds_is_noted(tmp_path: Path) -> None:
    assert jail.noted(tmp_path) == {}
    jail.note(tmp_path, {"files": "no room"})
    assert jail.noted(tmp_path) == {"namespaces": "", "files": "no room", "capabilities": "", "calls": ""}
    (tmp_path / jail.NAME).write_text("[]")
    assert jail.noted(tmp_path) == {}


# machines


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def filtered(task: Path) -> str:
    """What filters a thread's calls; "" of one that has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return next(line.split()[1] for line in (task / "status").read_text().splitlines() if line.startswith("Seccomp:"))
    return ""


def is_jailed(machine: Machine) -> bool:
    pid = machine.ask("status")["pid"]
    found = status_of(pid)
    kinds = ("mnt", "net", "ipc", "uts", "pid")
    apart = all(os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}") for kind in kinds)
    every = {value for path in Path(f"/proc/{pid}/task").iterdir() if (value := filtered(path))}
    return apart and every == {"2"} and int(found["CapPrm"], 16) == 0 and not os.path.exists(f"/proc/{pid}/root/etc")


def test_machines_and_twins_are_in_it(machines: Machines) -> None:
    parent = machines.talking()
    twin, _ = machines.twin(parent, "twin")
    assert is_jailed(parent)
    assert is_jailed(twin)
    for machine in (parent, twin):
        assert jail.noted(machine.folder) == dict.fromkeys(jail.PARTS, "")


def test_a_restored_machine_is_in_it(machines: Machines) -> None:
    first = machines.talking()
    first.ask("snapshot", name="base")
    assert is_jailed(machines.talking("two", snapshot=str(first.folder / "snapshots" / "base"), jail="required"))


ECHO = bytes.fromhex("66baf803 b075ee b070ee b00aee  66bafd03 ec a801 74f7 66baf803 ec ee b00a ee ebec")
"""Says "up", then sends back on the serial line what comes there, each on a line of its own."""


@needs_kvm
def test_virtual_processors_stand_still_and_fork_in_it(machines: Machines) -> None:
    kernel = bytearray(bzimage())
    kernel[4 * 512 + ENTRY_64 : 4 * 512 + ENTRY_64 + len(ECHO)] = ECHO
    (machines.home / "echo").write_bytes(kernel)
    parent, told = machines.launch(kernel=str(machines.home / "echo"), architecture="amd64", accelerator="kvm", jail="required")
    assert told.startswith(READY)
    while (line := parent.screen.line()) != b"up":
        assert b"/dev/kvm" in line  # how slow it is
    assert parent.type(b"a") == b"a"
    parent.ask("pause")
    twin, _ = machines.twin(parent, "twin")
    parent.ask("resume")
    assert (parent.type(b"b"), twin.type(b"c")) == (b"b", b"c")
    assert is_jailed(parent)
    assert is_jailed(twin)
    assert os.listdir(f"/proc/{twin.ask('status')['pid']}/root/dev") == ["kvm"]
    twin.ask("pause")
    twin.ask("resume")
    assert twin.type(b"d") == b"d"
