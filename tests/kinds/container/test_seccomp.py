"""The compiler of system call filters: against a plain reading of the rules, and in the kernel."""

from __future__ import annotations

import array
import errno
import json
import os
import signal
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.host.syscalls import X32_BIT, machine_name, number, table
from gasang.kinds.container.config.seccomp import ACTIONS, OPERATORS, Condition, Rule, Seccomp
from gasang.kinds.container.seccomp.compiler import AUDIT, ENOSYS, KILL, MOST, compile_filter, evaluate
from gasang.kinds.container.seccomp.profile import ALLOW, GROUPS, REFUSE, WITH_CAPABILITY, default_profile
from support.containers import Host, configuration, needs_containers, script
from support.probe import probe_program

ERRNO = ACTIONS["SCMP_ACT_ERRNO"]
DEFAULT_MASK = 0xA80425FB
NAMES = sorted(table("x86_64"))
U64 = (1 << 64) - 1


def holds(condition: Condition, arguments: tuple[int, ...]) -> bool:
    """A condition, read as the specification has it."""
    value = arguments[condition.index]
    return {
        "NE": value != condition.value,
        "LT": value < condition.value,
        "LE": value <= condition.value,
        "EQ": value == condition.value,
        "GE": value >= condition.value,
        "GT": value > condition.value,
        "MASKED_EQ": value & condition.value == condition.second & condition.value,
    }[condition.operator]


def expected(filter_: Seccomp, name: str, arguments: tuple[int, ...]) -> int:
    """What a filter is to answer, by the rules alone."""
    numbers = table("x86_64")
    rules = [rule for rule in filter_.rules if name in rule.names]
    for rule in (rule for rule in rules if rule.conditions):
        indexes = [condition.index for condition in rule.conditions]
        results = [holds(condition, arguments) for condition in rule.conditions]
        if all(results) if len(set(indexes)) == len(indexes) else any(results):
            return rule.action
    for rule in rules:
        if not rule.conditions:
            return rule.action
    highest = max((numbers[known] for rule in filter_.rules for known in rule.names if known in numbers), default=None)
    passing = filter_.default in (ALLOW, ACTIONS["SCMP_ACT_LOG"], ACTIONS["SCMP_ACT_TRACE"])
    beyond = highest is not None and numbers[name] > highest and not rules
    return ENOSYS if beyond and not passing else filter_.default


NUMBERS = st.one_of(st.integers(0, U64), st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, U64]))
CONDITIONS = st.builds(Condition, st.integers(0, 5), st.sampled_from(OPERATORS), NUMBERS, NUMBERS)
RULES = st.builds(
    Rule,
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=6).map(tuple),
    st.sampled_from([ALLOW, KILL, ERRNO | 1, ERRNO | 13, ACTIONS["SCMP_ACT_TRAP"]]),
    st.lists(CONDITIONS, max_size=3).map(tuple),
)
FILTERS = st.builds(
    Seccomp, st.sampled_from([ALLOW, ERRNO | 1, KILL]), st.just(("x86_64",)), st.just(0), st.lists(RULES, max_size=8).map(tuple)
)


@settings(max_examples=150)
@given(FILTERS, st.sampled_from(NAMES), st.tuples(*[NUMBERS] * 6), st.data())
def test_programs_answer_as_the_rules_say(filter_: Seccomp, name: str, arguments: tuple[int, ...], data: st.DataObject) -> None:
    used = [known for rule in filter_.rules for known in rule.names]
    name = data.draw(st.sampled_from([name, *used]))
    values = [condition.value for rule in filter_.rules for condition in rule.conditions]
    if values and data.draw(st.booleans()):
        arguments = tuple(data.draw(st.sampled_from([value, (value + 1) & U64, (value - 1) & U64])) for value in values[:1] * 6)
    program = compile_filter(filter_, "x86_64")
    assert evaluate(program, AUDIT["x86_64"], table("x86_64")[name], arguments) == expected(filter_, name, arguments)


def test_architectures_have_numbers_of_their_own() -> None:
    filter_ = Seccomp(ERRNO | 1, ("x86_64", "x86", "x32"), 0, (Rule(("getpid", "execve"), ALLOW),))
    program = compile_filter(filter_, "x86_64")
    assert evaluate(program, AUDIT["x86_64"], 39, ()) == ALLOW
    assert evaluate(program, AUDIT["x86_64"], 20, ()) == ERRNO | 1
    assert evaluate(program, AUDIT["x86"], 20, ()) == ALLOW
    assert evaluate(program, AUDIT["x86"], 19, ()) == ERRNO | 1
    assert evaluate(program, AUDIT["x86_64"], X32_BIT | 39, ()) == ALLOW
    assert evaluate(program, AUDIT["x86_64"], X32_BIT | 59, ()) == ERRNO | 1
    assert evaluate(program, AUDIT["x86_64"], X32_BIT | 520, ()) == ALLOW
    assert evaluate(program, AUDIT["aarch64"], 0, ()) == KILL
    alone = compile_filter(Seccomp(ALLOW, ("x86_64",)), "x86_64")
    assert evaluate(alone, AUDIT["x86_64"], X32_BIT | 39, ()) == KILL
    assert evaluate(alone, AUDIT["x86"], 20, ()) == KILL


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "riscv64"])
def test_the_default_rules(machine: str) -> None:
    plain, admin = (compile_filter(default_profile(mask, machine), machine) for mask in (DEFAULT_MASK, DEFAULT_MASK | 1 << 21))
    numbers = table(machine)

    def ask(program: bytes, name: str, *arguments: int) -> int:
        return evaluate(program, AUDIT[machine], numbers[name], arguments)

    assert len(plain) // 8 < MOST
    for name in ("read", "openat", "execve", "futex", "clone", "ptrace", "landlock_create_ruleset", "mseal", "chroot"):
        assert ask(plain, name, 17) == ALLOW, name
    for name in ("mount", "unshare", "setns", "bpf", "keyctl", "add_key", "request_key", "reboot", "kexec_load", "init_module", "swapon",
                 "io_uring_setup", "userfaultfd", "pivot_root", "open_by_handle_at", "settimeofday", "syslog"):  # fmt: skip
        assert ask(plain, name) == REFUSE, name
    assert ask(plain, "clone3") == ENOSYS
    assert [ask(plain, "clone", flag | 17) for flag in (0x20000, 0x10000000, 0x2000000)] == [REFUSE] * 3
    assert [ask(plain, "socket", family) for family in (1, 2, 40)] == [ALLOW, ALLOW, REFUSE]
    assert [ask(plain, "personality", value) for value in (0, 8, 0x20008, 0xFFFFFFFF, 4)] == [ALLOW] * 4 + [REFUSE]
    assert [ask(admin, name, 0x20000) for name in ("mount", "clone", "clone3", "setns", "bpf")] == [ALLOW] * 5
    assert evaluate(plain, AUDIT[machine], 5000, ()) == ENOSYS


def test_every_name_of_the_default_rules_is_a_system_call_somewhere() -> None:
    known = {name for machine in ("x86_64", "x86", "x32", "aarch64", "riscv64") for name in table(machine)}
    elsewhere = {"recv", "send", "getsid", "fstatat64", "epoll_ctl_old", "epoll_wait_old", "sync_file_range2"}
    names = {name for group in [*GROUPS.values(), *WITH_CAPABILITY.values()] for name in group.split()}
    assert names - known <= elsewhere


def test_the_search_is_short() -> None:
    """Few instructions to a decision: a third of a thousand would cost more than the call."""
    program = compile_filter(default_profile(DEFAULT_MASK, "x86_64"), "x86_64")
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    longest = 0
    for number_ in range(460):
        at = steps = 0
        accumulator = 0
        while code[at][0] != 0x06:
            operation, true, false, value = code[at]
            at += 1
            steps += 1
            if operation == 0x20:
                accumulator = {0: number_, 4: AUDIT["x86_64"]}.get(value, 0)
            elif operation == 0x05:
                at += value
            elif operation in (0x15, 0x25, 0x35):
                at += true if {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}[operation] else false
        longest = max(longest, steps)
    assert longest <= 32


@pytest.fixture(scope="module")
def probing(host: Host) -> Host:
    (host.lower / "bin/probe").write_bytes(probe_program())
    (host.lower / "bin/probe").chmod(0o755)
    return host


def filtered(data: dict[str, Any], *rules: dict[str, Any], default: str = "SCMP_ACT_ALLOW", **more: Any) -> dict[str, Any]:
    data["linux"]["seccomp"] = {"defaultAction": default, "syscalls": list(rules), **more}
    return data


@needs_containers[0]
@needs_containers[1]
class TestInTheKernel:
    def test_errors_are_those_of_the_rules(self, probing: Host) -> None:
        numbers = {name: number(name) for name in ("getpid", "sethostname", "sync", "dup")}
        data = script(
            f"probe {numbers['sync']}; echo $?; probe {numbers['sethostname']}; echo $?; probe {numbers['dup']} 0; echo $?;"
            f"probe {numbers['dup']} 1; echo $?; probe {numbers['getpid']}; echo $?; grep Seccomp: /proc/self/status"
        )
        filtered(
            data,
            {"names": ["sync", "of_tomorrow"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7},
            {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["dup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 9, "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
        )
        for privileges in (True, False):
            data["process"]["noNewPrivileges"] = privileges
            assert [line.split()[-1] for line in probing.run(data).lines] == ["7", "1", "0", "9", "0", "2"]

    @pytest.mark.parametrize(("action", "signal_"), [("SCMP_ACT_KILL_PROCESS", signal.SIGSYS), ("SCMP_ACT_TRAP", signal.SIGSYS)])
    def test_killing_and_trapping(self, probing: Host, action: str, signal_: int) -> None:
        data = filtered(configuration("probe", str(number("sync"))), {"names": ["sync"], "action": action})
        ended = probing.run(data).exit
        assert ended.signal == signal_

    def test_logging_lets_through(self, probing: Host) -> None:
        data = filtered(configuration("probe", str(number("sync"))), {"names": ["sync"], "action": "SCMP_ACT_LOG"})
        assert probing.run(data).exit.code == 0

    def test_the_default_rules_let_a_shell_live_and_refuse_the_rest(self, probing: Host) -> None:
        profile = default_profile(DEFAULT_MASK, machine_name())
        names = {value: name for name, value in ACTIONS.items()}
        rules = [
            {
                "names": list(rule.names),
                "action": names[rule.action & 0xFFFF0000],
                **({"errnoRet": rule.action & 0xFFFF} if rule.action & 0xFFFF0000 == ERRNO else {}),
                "args": [
                    {"index": c.index, "value": c.value, "valueTwo": c.second, "op": f"SCMP_CMP_{c.operator}"} for c in rule.conditions
                ],
            }
            for rule in profile.rules
        ]
        probes = [("unshare", errno.EPERM), ("clone3", errno.ENOSYS), ("keyctl", errno.EPERM), ("getpid", 0)]
        text = "; ".join(f"probe {number(name)}; echo $?" for name, _ in probes)
        data = filtered(script(f"{text}; probe 5000; echo $?; ls / | wc -l"), *rules, default="SCMP_ACT_ERRNO", defaultErrnoRet=1)
        lines = probing.run(data).lines
        assert [int(line) for line in lines[:5]] == [*(code for _, code in probes), errno.ENOSYS]
        assert int(lines[5]) > 5

    def test_an_agent_is_handed_the_listener(self, probing: Host, tmp_path: Path) -> None:
        path = tmp_path / "agent"
        told: dict[str, Any] = {}

        def agent(server: socket.socket) -> None:
            connection, _ = server.accept()
            rights = array.array("i")
            data, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(4))
            rights.frombytes(ancillary[0][2][:4])
            told.update(json.loads(data))
            told["link"] = os.readlink(f"/proc/self/fd/{rights[0]}")
            os.close(rights[0])  # nobody answers any more: the call gives ENOSYS
            connection.close()

        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.bind(str(path))
            server.listen()
            thread = threading.Thread(target=agent, args=(server,))
            thread.start()
            data = filtered(
                configuration("probe", str(number("sync"))),
                {"names": ["sync"], "action": "SCMP_ACT_NOTIFY"},
                listenerPath=str(path),
                listenerMetadata="words",
            )
            ended = probing.run(data).exit
            thread.join()
        assert ended.code == errno.ENOSYS
        assert told["link"] == "anon_inode:seccomp notify"
        assert (told["metadata"], told["fds"], told["state"]["status"]) == ("words", ["seccompFd"], "created")
        assert told["pid"] > 0
