"""The native spawn, with minimal plans."""

from __future__ import annotations

import ctypes
import errno
import os

from gasang.host.namespaces import CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUTS
from gasang.kinds.container import layout
from gasang.kinds.container.plan import Built, Plan
from gasang.kinds.container.spawn import spawn, watch
from gasang.native import ctype_of
from support.privileges import needs_root

SPAWNED = ctype_of(layout.Spawned)


def minimal(*programs: str) -> Plan:
    """A plan that executes the first program there is."""
    plan = Plan()
    plan.status = plan.hand(layout.STATUS_END, 3)
    plan.hand(layout.CONTROL_END, 4)
    plan.child.do(layout.SIGNALS, plan.blob(bytes(32)), what="reset signals")
    return finish(plan, *programs) if programs else plan


def finish(plan: Plan, *programs: str) -> Plan:
    path = plan.slot()
    plan.child.do(layout.FIND, plan.candidates(programs), into=path, what=f"find {programs[-1]}")
    plan.child.do(layout.EXECUTE, path, plan.pointers([programs[-1]]), plan.pointers(["A=1"]), what=f"execute {programs[-1]}")
    return plan


def start(built: Built) -> ctypes.Structure:
    """Spawn; the pipes are closed and the process, if there is one, is left to the caller."""
    buffer = ctypes.create_string_buffer(built.data, len(built.data))
    outcome = SPAWNED()
    assert spawn(buffer, len(built.data), outcome) == 0
    return outcome


def end(outcome: ctypes.Structure) -> int:
    for descriptor in (outcome.status, outcome.control, outcome.pidfd):
        if descriptor >= 0:
            os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(outcome.pid, 0)[1]) if outcome.pid > 0 else -1


def test_the_first_candidate_that_exists_runs() -> None:
    outcome = start(minimal("/nothing/here", "/bin/true").build(0))
    assert outcome.event == layout.RUNNING
    assert end(outcome) == 0


def test_a_program_that_is_missing_is_told_by_list_and_index() -> None:
    built = minimal("/nothing/here").build(0)
    outcome = start(built)
    assert (outcome.event, outcome.list, outcome.error) == (layout.FAILED, layout.IN_CHILD, errno.ENOENT)
    assert built.phrase(outcome.list, outcome.index) == "find /nothing/here"
    assert end(outcome) == 127


def test_a_folder_is_no_program() -> None:
    outcome = start(minimal("/nothing", "/etc").build(0))
    assert outcome.error == errno.EACCES
    end(outcome)


def test_ignored_errors_and_skips_choose_the_way() -> None:
    plan = minimal()
    skipped = plan.text("/never")
    plan.child.call("chdir", plan.text("/nothing"), ignore=[errno.ENOENT], skip_ignored=1, what="look")
    plan.child.call("chdir", skipped, what="passed over")
    plan.child.call("chdir", plan.text("/"), skip_done=1, what="look again")
    plan.child.call("chdir", skipped, what="passed over too")
    outcome = start(finish(plan, "/bin/true").build(0))
    assert outcome.event == layout.RUNNING
    assert end(outcome) == 0


def test_the_child_waits_at_a_stop_until_it_is_let_go() -> None:
    plan = minimal()
    plan.child.do(layout.REPORT, layout.STOPPED, 7, what="stop")
    plan.child.do(layout.WAIT, 4, plan.blob(bytes(8)), 8, what="wait")
    outcome = start(finish(plan, "/bin/true").build(0))
    assert (outcome.event, outcome.value) == (layout.STOPPED, 7)
    os.write(outcome.control, b"x")
    assert watch(outcome.status, outcome, ctypes.create_string_buffer(24)) == 0
    assert outcome.event == layout.RUNNING
    assert end(outcome) == 0


def test_a_child_whose_maker_is_gone_ends() -> None:
    plan = minimal()
    plan.child.do(layout.REPORT, layout.STOPPED, 1, what="stop")
    plan.child.do(layout.WAIT, 4, plan.blob(bytes(8)), 8, what="wait for word")
    outcome = start(finish(plan, "/bin/true").build(0))
    os.close(outcome.control)
    outcome.control = -1
    assert watch(outcome.status, outcome, ctypes.create_string_buffer(24)) == 0
    assert (outcome.event, outcome.error) == (layout.FAILED, errno.EPIPE)
    assert end(outcome) == 127


def test_the_parent_works_while_the_child_waits() -> None:
    read_end, write_end = os.pipe()
    plan = minimal()
    plan.child.do(layout.WAIT, 4, plan.blob(bytes(8)), 8, what="wait")
    plan.parent.call("write", write_end, plan.text("parent"), 6, what="write")
    plan.parent.call("write", plan.control_slot, plan.text("go"), 2, what="let the child go")
    outcome = start(finish(plan, "/bin/true").build(0))
    assert outcome.event == layout.RUNNING
    assert end(outcome) == 0
    assert os.read(read_end, 10) == b"parent"
    os.close(read_end)
    os.close(write_end)


def test_a_failure_of_the_parents_part_ends_the_child() -> None:
    plan = minimal()
    plan.child.do(layout.WAIT, 4, plan.blob(bytes(8)), 8, what="wait")
    plan.parent.call("chdir", plan.text("/nothing"), what="go nowhere")
    built = finish(plan, "/bin/true").build(0)
    outcome = start(built)
    assert (outcome.event, outcome.list) == (layout.FAILED, layout.IN_PARENT)
    assert built.phrase(outcome.list, outcome.index) == "go nowhere"
    assert end(outcome) == -9


def test_only_descriptors_that_are_handed_over_arrive() -> None:
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    plan = minimal()
    plan.hand(write_end, 1, keep=True)
    path = plan.slot()
    plan.child.do(layout.FIND, plan.candidates(["/bin/ls"]), into=path, what="find ls")
    plan.child.do(layout.EXECUTE, path, plan.pointers(["ls", "-1", "/proc/self/fd"]), plan.pointers([]), what="execute ls")
    outcome = start(plan.build(0))
    assert end(outcome) == 0
    os.close(write_end)
    with os.fdopen(read_end) as file:
        assert file.read().split() == ["0", "1", "2", "3"]  # 3 is the folder that ls reads


@needs_root
def test_namespaces_are_made_at_once_or_through_a_helper() -> None:
    for join in (False, True):
        read_end, write_end = os.pipe()
        plan = minimal()
        plan.hand(write_end, 1, keep=True)
        if join:
            plan.before.call("unshare", CLONE_NEWTIME, what="make a time namespace")
        plan.child.call("sethostname", plan.text("inside"), 6, what="name the host")
        path = plan.slot()
        plan.child.do(layout.FIND, plan.candidates(["/bin/sh"]), into=path, what="find sh")
        script = "echo $$; uname -n"
        plan.child.do(layout.EXECUTE, path, plan.pointers(["sh", "-c", script]), plan.pointers(["PATH=/bin"]), what="execute sh")
        outcome = start(plan.build(CLONE_NEWPID | CLONE_NEWUTS))
        os.close(write_end)
        with os.fdopen(read_end) as file:
            assert file.read() == "1\ninside\n"
        assert end(outcome) == 0


@needs_root
def test_a_helper_that_fails_is_told() -> None:
    plan = minimal()
    plan.before.call("setns", 0, 0x20000000, what="join the namespace")
    built = finish(plan, "/bin/true").build(0)
    outcome = start(built)
    assert (outcome.event, outcome.list, outcome.pid) == (layout.FAILED, layout.BEFORE, -1)
    assert built.phrase(outcome.list, outcome.index) == "join the namespace"
    end(outcome)


def test_a_buffer_that_is_no_plan_is_refused() -> None:
    data = bytearray(minimal("/bin/true").build(0).data)
    for position in (0, 4, 8):
        damaged = bytearray(data)
        damaged[position] ^= 1
        buffer = ctypes.create_string_buffer(bytes(damaged), len(damaged))
        assert spawn(buffer, len(damaged), SPAWNED()) == -errno.EINVAL
