"""Real containers under a supervisor: by the planner's plans, with a terminal of their own, in their control group."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gasang.host.namespaces import NAMESPACES
from gasang.kinds.container import layout
from gasang.kinds.container.cgroups.group import Cgroup
from gasang.kinds.container.container import filter_of
from gasang.kinds.container.plan import Built
from gasang.kinds.container.planning.entering import EnteringPlanner
from gasang.kinds.container.planning.order import START_STOP, CgroupUse, FolderRoot, Order
from gasang.kinds.container.planning.planner import Planner
from gasang.kinds.container.supervisor import protocol
from support.containers import checked, make_root, needs_containers, script
from support.supervised import Client, Folder, eventually

pytestmark = needs_containers


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("root"))


@pytest.fixture
def group() -> Iterator[Cgroup]:
    made = Cgroup.at("", f"gasang-test-{os.getpid()}")
    yield made
    made.delete()


def planned(root: Path, text: str, *, terminal: bool = False, stops: bool = False, use: CgroupUse | None = None, **process: Any) -> Built:
    """The plan of a container as a supervisor does it: streams at 0, 1 and 2, the console socket at its number."""
    data = script(text)
    data["process"].update(terminal=terminal, **process)
    config = checked(data)
    assert config.process is not None
    program, flags = filter_of(config.linux.seccomp)
    order = Order(
        config, FolderRoot(str(root)), "supervised", use or CgroupUse(), console_socket=protocol.FD_CONSOLE if terminal else -1,
        waits_for_start=stops, filter=program, filter_flags=flags,
    )  # fmt: skip
    return Planner(order, config.process, -1, -1).build()


def test_a_container(folder: Folder, root: Path) -> None:
    built = planned(root, "echo I am $$ in $(hostname); ls /; echo err >&2; exit 7")
    ended = folder.run(built.data)
    assert ended.failed is None
    assert ended.code == 7
    assert folder.text().startswith("I am 1 in ")
    assert "root" in folder.text().split()
    assert folder.text("stderr") == "err\n"


def test_a_terminal_of_the_container(folder: Folder, root: Path) -> None:
    built = planned(root, "tty; ls /dev/pts; read x; stty size; echo got $x", terminal=True)
    made = folder.launch(built.data, terminal_later=True, rows=21, columns=91)
    client = Client(made, stdin=True)
    answer = made.start()
    assert (answer.failed, answer.state) == (None, "running")
    assert client.until(b"ptmx\r\n").split() == [b"/dev/pts/0", b"0", b"ptmx"]
    client.socket.sendall(b"word\n")
    assert client.rest() == b"word\r\n21 91\r\ngot word\r\n"
    assert made.wait(10).code == 0


def test_made_and_started_in_two_steps(folder: Folder, root: Path) -> None:
    """In between the namespaces are there to be furnished: a network, for one."""
    made = folder.launch(planned(root, "ip -o link | wc -l", stops=True).data, start_at_once=True)
    status = made.status()
    assert (status.state, status.stop) == ("created", START_STOP)
    assert os.readlink(f"/proc/{status.pid}/ns/net") != os.readlink("/proc/self/ns/net")
    made.start()
    assert made.wait(10).code == 0
    assert folder.text() == "1\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_program_that_is_not_in_the_image(folder: Folder, root: Path, terminal: bool) -> None:
    built = planned(root, "", args=["/no/such"], terminal=terminal)
    made = folder.launch(built.data, terminal_later=terminal)
    failed = made.start().failed
    assert failed is not None
    assert failed[0] == layout.IN_CHILD
    assert built.phrase(failed[0], failed[1]) == "execute /no/such"
    assert made.wait(10).code == 127


def test_in_its_control_group(folder: Folder, root: Path, group: Cgroup) -> None:
    config = checked(script("true"))
    group.create(config.linux.resources)
    use = group.use()
    handed = CgroupUse(**{**use.__dict__, "descriptor": protocol.FD_EXTRA}) if use.descriptor >= 0 else use
    built = planned(root, "exec sleep 60", use=handed)
    made = folder.launch(built.data, descriptors=(use.descriptor,) if use.descriptor >= 0 else ())
    if use.descriptor >= 0:
        os.close(use.descriptor)
    assert made.start().failed is None
    text = Path(f"/proc/{made.status().pid}/cgroup").read_text()
    assert f"gasang-test-{os.getpid()}" in text
    made.signal(signal.SIGKILL)
    assert made.wait(10).code == 137


def test_another_process_in_it(folder: Folder, root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An exec: a supervisor of its own, with a terminal of the container's, entering through the first process's pidfd."""
    made = folder.launch(planned(root, "echo up; exec sleep 60").data)
    first = Client(made)
    made.start()
    first.until(b"up\n")
    target = os.pidfd_open(made.status().pid)
    data = script("")
    data["process"].update(terminal=True, args=["sh", "-c", "tty; echo pid $$; ls /proc/1/exe -l; exit 9"])
    config = checked(data)
    assert config.process is not None
    namespaces = sum(NAMESPACES[use.kind].flag for use in config.linux.namespaces)
    order = Order(config, FolderRoot(str(root)), "supervised", CgroupUse(), console_socket=protocol.FD_CONSOLE)
    built = EnteringPlanner(order, config.process, protocol.FD_EXTRA, namespaces, -1, -1).build()
    other = Folder(tmp_path_factory.mktemp("exec"))
    entered = other.launch(built.data, terminal_later=True, descriptors=(target,))
    os.close(target)
    client = Client(entered)
    assert entered.start().failed is None
    text = client.rest()
    assert entered.wait(10).code == 9
    entered.reap()
    assert text.startswith(b"/dev/pts/0\r\npid ")
    assert b"busybox" in text
    assert made.status().state == "running"
    other.close()


def test_nothing_stays(folder: Folder, root: Path) -> None:
    """All that a container's first process leaves dies with it, and the supervisor goes away."""
    made = folder.launch(planned(root, "sleep 1000 & sleep 1000 & echo up; wait").data)
    client = Client(made)
    made.start()
    client.until(b"up\n")
    namespace = os.readlink(f"/proc/{made.status().pid}/ns/pid")

    def inside() -> list[str]:
        found = []
        for process in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{process}/ns/pid") == namespace:
                    found.append(process)
            except OSError:
                continue
        return found

    assert len(inside()) == 3
    made.signal(signal.SIGKILL)
    assert made.wait(10).signal == signal.SIGKILL
    client.rest()
    made.reap()
    eventually(lambda: inside() == [])
