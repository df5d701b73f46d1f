"""Machines in a control group whose memory is used up: what they are asked for is refused in a sentence, and others are not touched."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from gasang.core.errors import UnsupportedError
from gasang.kinds.container.cgroups.headroom import headroom
from gasang.kinds.container.cgroups.hierarchies import find_hierarchies
from gasang.native.cache import default_directory
from support.engines.verbs import Gasang, served
from support.seat import Seat
from support.supervised import eventually as eventually_within
from support.talking import talking

eventually = partial(eventually_within, limit=60.0)
MIB = 1 << 20


def memory_folder() -> tuple[Path, str, str]:
    """Where this process's group of memory is, and what its limit and usage are called. Skips where none can be made."""
    try:
        found = find_hierarchies()
    except UnsupportedError:
        pytest.skip("this host has no control groups")
    legacy = found.holding("memory")
    if legacy is not None:
        return Path(legacy.folder) / legacy.own.lstrip("/"), "memory.limit_in_bytes", "memory.usage_in_bytes"
    assert found.unified is not None
    return Path(found.unified.folder) / found.unified.own.lstrip("/"), "memory.max", "memory.current"


class Group:
    """A control group for the processes of a machine."""

    def __init__(self, name: str) -> None:
        parent, self._limit, self._usage = memory_folder()
        self._parent, self.folder = parent, parent / name
        try:
            self.folder.mkdir()
        except OSError as error:
            pytest.skip(f"no control group can be made here ({error.strerror})")
        if not (self.folder / self._limit).exists():
            self.folder.rmdir()
            pytest.skip("control groups here have no limit of memory")

    def take(self, pid: int) -> None:
        (self.folder / "cgroup.procs").write_text(str(pid))

    def leave_room(self, room: int) -> None:
        (self.folder / self._limit).write_text(str(int((self.folder / self._usage).read_text()) + room))

    def close(self) -> None:
        (self.folder / self._limit).write_text("-1" if "limit" in self._limit else "max")
        for pid in (self.folder / "cgroup.procs").read_text().split():
            with suppress(OSError):
                (self._parent / "cgroup.procs").write_text(pid)
        self.folder.rmdir()


@contextmanager
def group(name: str) -> Iterator[Group]:
    made = Group(f"gasang-test-{os.getpid()}-{name}")
    try:
        yield made
    finally:
        made.close()


pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(scope="module")
def gasang() -> Iterator[Gasang]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GASANG_NATIVE_CACHE", str(default_directory()))
        with served() as command:
            kernel = command.home / "talking"
            kernel.write_bytes(talking())
            yield command


@pytest.fixture
def machines(gasang: Gasang) -> Iterator[list[Seat]]:
    """Seats at two machines, web and other."""
    seats = []
    for name in ("web", "other"):
        gasang("run", "-d", "--name", name, "--memory", "64M", "--kernel", str(gasang.home / "talking"))
        eventually(lambda: "up" in gasang("logs", name))  # noqa: B023  (it is asked at once)
        seats.append(Seat(gasang.home, name))
    yield seats
    for seat in seats:
        seat.close()
    gasang("rm", "-f", *gasang("ps", "-aq").split())


def test_a_twin_is_refused(gasang: Gasang, machines: list[Seat]) -> None:
    web, other = machines
    pid = int(gasang.inspect("web", "State.Pid"))
    with group("fork") as limited:
        limited.take(pid)
        limited.leave_room(MIB)
        found = headroom(pid)
        assert found is not None
        assert found.bytes <= 16 * MIB
        done = gasang.run("fork", "web", "-n", "3")
        assert (done.returncode, b"there is no memory for a twin" in done.stderr, b"in control group " in done.stderr) == (7, True, True), (
            done
        )
        assert gasang("ps", "-a", "--format", "{name}").split() == ["other", "web"]
        assert web.type(b"a") == b"a1"
        gasang("fork", "other")
    gasang("fork", "web")
    assert other.type(b"b") == b"b1"


def test_a_snapshot_that_meets_the_limit(gasang: Gasang, machines: list[Seat]) -> None:
    """It is made all the same, or it is refused; where the kernel ends the machine over it, that is told."""
    web, other = machines
    key = gasang.inspect("web", "Id")
    web.type(b"a")
    gasang("snapshot", "create", "web", "base")
    web.type(b"b")
    with group("snapshot") as limited:
        limited.take(int(gasang.inspect("web", "State.Pid")))
        limited.leave_room(0)
        done = gasang.run("snapshot", "create", "web", "second")
        assert done.returncode == 0 or done.stderr.startswith(b"gasang: "), done
        assert b"Traceback" not in done.stderr
    names = gasang("snapshot", "ls", "web", "--format", "{name}").split()
    assert names == (["base", "second"] if done.returncode == 0 else ["base"])
    [store] = (gasang.home / "data" / "containers").glob(f"family-*/{key}/snapshots")
    assert other.type(b"c") == b"c1"
    gasang("restore", "web", "base")
    with_base = Seat(gasang.home, "web")
    assert with_base.type(b"d") == b"d2"
    with_base.close()
    gasang("snapshot", "create", "web", "third")
    assert not list(store.glob(".new-*"))


def test_a_process_without_address_space(gasang: Gasang, machines: list[Seat]) -> None:
    pid = int(gasang.inspect("web", "State.Pid"))
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    resource.prlimit(pid, resource.RLIMIT_AS, (pages * resource.getpagesize() + MIB, -1))
    done = gasang.run("fork", "web")
    assert done.returncode != 0
    assert b"the host has no" in done.stderr
    resource.prlimit(pid, resource.RLIMIT_AS, (-1, -1))
    assert machines[0].type(b"a") == b"a1"
    gasang("fork", "web")
