"""The filter of a machine's system calls, asked without the kernel."""

from __future__ import annotations

import socket

import pytest

from gasang.accel.kvm import vcpu
from gasang.host.syscalls import table
from gasang.kinds.container.seccomp.compiler import AUDIT, evaluate
from gasang.kinds.container.seccomp.profile import ABSENT, ALLOW, REFUSE
from gasang.kinds.vm.process.calls import KICK, PLAIN, program

MACHINES = ("x86_64", "aarch64", "riscv64")
THREAD, TWIN, NEW_USER, NEW_TIME = 0x3D0F00, 0x1200011, 0x10000011, 0x91


def asked(machine: str, name: str, *arguments: int) -> int:
    return evaluate(program(machine), AUDIT[machine], table(machine)[name], arguments)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("read", (), ALLOW), ("ioctl", (), ALLOW), ("execve", (), REFUSE), ("execveat", (), REFUSE), ("kill", (), REFUSE),
        ("socket", (socket.AF_UNIX, 1), ALLOW), ("socket", (socket.AF_INET, 1), REFUSE), ("socket", (40, 1), REFUSE),
        ("clone", (THREAD,), ALLOW), ("clone", (TWIN,), ALLOW), ("clone", (NEW_USER,), REFUSE), ("clone", (NEW_TIME,), REFUSE),
        ("sched_setscheduler", (0, 0), REFUSE), ("sched_setscheduler", (0, 5), ALLOW), ("sched_setscheduler", (0, 1), REFUSE),
        ("sched_setscheduler", (1, 5), REFUSE),
        ("clone3", (), ABSENT), ("prlimit64", (0,), ALLOW), ("prlimit64", (1,), REFUSE),
        ("tgkill", (1, 1, KICK), ALLOW), ("tgkill", (1, 1, 9), REFUSE), ("prctl", (15,), ALLOW), ("prctl", (4, 1), REFUSE),
    ],
)  # fmt: skip
def test_what_is_allowed(machine: str, name: str, arguments: tuple[int, ...], answer: int) -> None:
    assert asked(machine, name, *arguments) == answer


def test_programs_of_another_sort_are_killed() -> None:
    assert evaluate(program("x86_64"), AUDIT["x86"], 1, ()) == 0x80000000
    assert evaluate(program("x86_64"), AUDIT["x86_64"], 0x40000001, ()) == 0x80000000


def test_every_name_is_one_somewhere() -> None:
    known = set().union(*(table(machine) for machine in MACHINES))
    assert {name for group in PLAIN.values() for name in group.split()} <= known


def test_it_kicks_with_the_signal_of_virtual_processors() -> None:
    assert KICK == vcpu.KICK
