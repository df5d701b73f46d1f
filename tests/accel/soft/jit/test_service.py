"""The compile service: answers, the hottest first, a process that is killed, and no service at all."""

from __future__ import annotations

import os
import queue
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.accel.soft.jit.finishing import LOCK, begin, shares_of
from gasang.accel.soft.jit.messages import PLACES, Answer, Page, Request
from gasang.accel.soft.jit.pack import stamp_of
from gasang.accel.soft.jit.service import MOST_STARTS, MOST_WAITING, SUBJECT, CompileService
from gasang.accel.soft.jit.store import RegionStore
from gasang.accel.soft.jit.worker import serve
from gasang.cpus.riscv64.state import PAGE_SIZE
from gasang.host.files import lock_file, wait_for_lock
from support.bare import asm
from support.supervised import eventually

PATIENCE = 120
LOOP = asm("addi", rd=5, rs1=5, imm=1) + asm("jal", rd=0, imm=-4)


def request(number: int) -> Request:
    """A loop of two instructions."""
    page = Page(LOOP.ljust(PAGE_SIZE, b"\0"), (b"\1" * 4).ljust(PLACES, b"\0"), 9)
    return Request(number, 0, False, (), {0: page})


@pytest.fixture
def answers() -> queue.Queue[Answer]:
    """What was answered."""
    return queue.Queue()


@pytest.fixture
def service(answers: queue.Queue[Answer]) -> Iterator[CompileService]:
    """A service, ended at the end."""
    made = CompileService(answers.put)
    made.start()
    yield made
    made.close()


def test_requests_are_answered(service: CompileService, answers: queue.Queue[Answer]) -> None:
    service.ask(1, request(7))
    answer = answers.get(timeout=PATIENCE)
    assert (answer.number, answer.entries, answer.places, dict(answer.stamps)) == (7, (0,), (0, 4), {0: 9})
    assert answer.image


def test_what_cannot_be_compiled_is_answered_too(service: CompileService, answers: queue.Queue[Answer]) -> None:
    page = Page(bytes(PAGE_SIZE), bytes(PLACES), 9)
    service.ask(1, request(3)._replace(pages={0: page}))
    assert answers.get(timeout=PATIENCE).image == b""


def test_the_hottest_goes_first(answers: queue.Queue[Answer]) -> None:
    made = CompileService(answers.put)
    for number, heat in enumerate((1, 5, 3, 2, 5)):
        made.ask(heat, request(number))
    made.hotter(4, 3, lambda: request(3))
    made.start()
    assert [answers.get(timeout=PATIENCE).number for _ in range(5)] == [4, 1, 3, 2, 0]
    made.close()


def test_the_coolest_are_forgotten(answers: queue.Queue[Answer]) -> None:
    made = CompileService(answers.put)
    assert [made.ask(number, request(number)) for number in range(MOST_WAITING)] == [[]] * MOST_WAITING
    assert (made.takes(0), made.takes(1)) == (True, True)
    assert made.ask(999, request(999)) == [0]
    assert (made.takes(0), made.takes(1)) == (False, True)
    assert made.ask(0, request(1000)) == [1000]
    assert made.forget([0, 5, 999]) == [999, 5]
    assert made.ask(0, request(1001)) == []


def test_a_process_that_is_killed_is_started_again(service: CompileService, answers: queue.Queue[Answer]) -> None:
    killed = service.process
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    service.ask(2, request(1))  # lost with it
    service.ask(1, request(2))
    assert answers.get(timeout=PATIENCE).number == 2
    assert service.process not in (killed, None)
    assert service.lost == 1


@pytest.mark.parametrize(
    ("start", "end"),
    [("raise SystemExit(3)", "exit code 3"), ("import os; os.kill(os.getpid(), 9)", "signal 9")],
    ids=["exits", "is-killed"],
)
def test_a_process_that_ends_each_time_is_left_off(
    answers: queue.Queue[Answer], monkeypatch: pytest.MonkeyPatch, start: str, end: str
) -> None:
    monkeypatch.setattr("gasang.accel.soft.jit.service._START", start)
    told: queue.Queue[str] = queue.Queue()
    made = CompileService(answers.put, warn=told.put)
    made.start()
    for number in range(MOST_STARTS + 2):
        made.ask(1, request(number))
    assert told.get(timeout=PATIENCE) == f"{SUBJECT}: the process that compiles it ends ({end})"
    assert made.process is None
    assert (made.starts, made.lost) == (MOST_STARTS, MOST_STARTS)
    made.ask(1, request(99))
    made.close()
    assert answers.empty()
    assert told.empty()


def test_a_service_that_is_closed_has_nothing_to_tell(answers: queue.Queue[Answer]) -> None:
    told: queue.Queue[str] = queue.Queue()
    made = CompileService(answers.put, warn=told.put)
    made.start()
    made.ask(1, request(1))
    made.close()
    assert told.empty()


def test_a_host_that_executes_nothing_has_none(answers: queue.Queue[Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent")
    told: queue.Queue[str] = queue.Queue()
    made = CompileService(answers.put, warn=told.put)
    made.start()
    made.ask(1, request(1))
    assert told.get(timeout=PATIENCE) == f"{SUBJECT}: the host starts no process that compiles it"
    made.close()
    assert made.process is None


def test_what_is_compiled_is_kept_for_the_content_that_it_was_compiled_from(tmp_path: Path, answers: queue.Queue[Answer]) -> None:
    made = CompileService(answers.put, tmp_path)
    made.start()
    asked = request(7)
    content = asked.pages[0].content
    made.ask(1, asked)
    first = answers.get(timeout=PATIENCE)
    assert first.stamps == {0: stamp_of(content)}  # not what the request said
    made.ask(1, request(8))
    second = answers.get(timeout=PATIENCE)
    made.close()
    assert (second.number, second.image) == (8, first.image)
    store = RegionStore(tmp_path)
    assert len(store) == 1
    store.close()


def test_what_is_kept_does_not_stand_for_more_than_it_has(tmp_path: Path) -> None:
    """Code of which more has been executed since is compiled anew; what has less gets the larger region."""
    loop = asm("addi", rd=5, rs1=5, imm=1) + asm("beq", rs1=5, rs2=6, imm=8) + asm("jal", rd=0, imm=-8)
    content = loop + asm("addi", rd=7, rs1=7, imm=1) + asm("jal", rd=0, imm=-16)
    store = RegionStore(tmp_path)
    few, more = [
        request(number)._replace(pages={0: Page(content.ljust(PAGE_SIZE, b"\0"), (b"\1" * places).ljust(PLACES, b"\0"), 9)})
        for number, places in enumerate((6, 10))
    ]
    small, large, again = serve(few, store), serve(more, store), serve(few, store)
    store.close()
    assert (len(small.places), len(large.places)) == (3, 5)
    assert (again.number, again.image) == (small.number, large.image)


def test_a_brief_region_is_no_answer_to_a_machine(tmp_path: Path) -> None:
    store = RegionStore(tmp_path)
    brief, full = serve(request(1), store, brief=True), serve(request(2), store)
    again, next_time = serve(request(3), store), serve(request(4), store, brief=True)
    store.close()
    assert brief.places == full.places
    assert (brief.brief, full.brief) == (True, False)
    assert (again.image, again.brief) == (full.image, False)
    assert next_time.image in (brief.image, full.image)


def on_two_pages() -> Request:
    """A loop, half of it on the next page."""
    here = asm("addi", rd=5, rs1=5, imm=1) + asm("jal", rd=0, imm=PAGE_SIZE - 4)
    there = asm("addi", rd=6, rs1=6, imm=1) + asm("jal", rd=0, imm=-4 - PAGE_SIZE)
    executed = (b"\1" * 4).ljust(PLACES, b"\0")
    pages = {delta: Page(code.ljust(PAGE_SIZE, b"\0"), executed, 9) for delta, code in enumerate((here, there))}
    return request(1)._replace(pages=pages)


def test_a_brief_region_lies_on_one_page() -> None:
    """The loop's other half is interpreted."""
    asked = on_two_pages()
    assert (set(serve(asked, None).stamps), set(serve(asked, None, brief=True).stamps)) == ({0, 1}, {0})


@pytest.mark.parametrize("full", [False, True])
def test_what_stays_hot_is_compiled_for_the_next_with_all_effort_on_one_page(
    tmp_path: Path, answers: queue.Queue[Answer], full: bool
) -> None:
    made = CompileService(answers.put, tmp_path, lambda: None)
    made.start()
    asked = on_two_pages()._replace(full=full)
    made.ask(9, asked)
    made.close()
    with open(tmp_path / LOCK, "ab") as alone:
        wait_for_lock(alone.fileno())
    store = RegionStore(tmp_path)
    (entry,) = store.about(stamp_of(asked.pages[0].content))
    store.close()
    assert ([page.delta for page in entry.pages], entry.brief) == ([0], not full)


def test_what_is_left_of_both_kinds_is_compiled_for_the_next(tmp_path: Path, answers: queue.Queue[Answer]) -> None:
    """By as many processes as there are kinds, or more."""
    contents = [asm("addi", rd=5, rs1=5, imm=number) + LOOP.ljust(PAGE_SIZE - 4, b"\0") for number in range(4)]
    made = CompileService(answers.put, tmp_path, lambda: None)
    made.start()
    for number, content in enumerate(contents):
        page = Page(content, (b"\1" * 6).ljust(PLACES, b"\0"), stamp_of(content))
        made.ask(9, request(number)._replace(pages={0: page}, full=number % 2 == 0))
    made.close()
    with open(tmp_path / LOCK, "ab") as alone:
        wait_for_lock(alone.fileno())
    store = RegionStore(tmp_path)
    kinds = [[entry.brief for entry in store.about(stamp_of(content))] for content in contents]
    store.close()
    assert kinds == [[False], [True], [False], [True]]


def test_what_is_in_a_region_already_is_not_compiled_for_the_next(tmp_path: Path, answers: queue.Queue[Answer]) -> None:
    """A place of a loop that was compiled just now, though more of what is around it was executed by then."""
    loop = asm("addi", rd=5, rs1=5, imm=1) + asm("beq", rs1=5, rs2=6, imm=8) + asm("jal", rd=0, imm=-8)
    content = (loop + asm("addi", rd=7, rs1=7, imm=1) + asm("jal", rd=0, imm=-16)).ljust(PAGE_SIZE, b"\0")
    made = CompileService(answers.put, tmp_path, lambda: None)
    made.start()
    for number, (hot, places) in enumerate([(0, 6), (8, 10)]):
        page = Page(content, (b"\1" * places).ljust(PLACES, b"\0"), stamp_of(content))
        made.ask(9 - number, request(number)._replace(hot=hot, pages={0: page}))
    made.close()
    with open(tmp_path / LOCK, "ab") as alone:
        wait_for_lock(alone.fileno())
    store = RegionStore(tmp_path)
    assert len(store) == 1
    store.close()


def test_what_waits_at_the_end_is_compiled_for_the_next(tmp_path: Path, answers: queue.Queue[Answer]) -> None:
    made = CompileService(answers.put, tmp_path)
    made.start()
    for number in range(3):
        page = Page(asm("addi", rd=5, rs1=5, imm=number) + LOOP.ljust(PAGE_SIZE - 4, b"\0"), (b"\1" * 6).ljust(PLACES, b"\0"), 9)
        made.ask(1, request(number)._replace(pages={0: page}))
    made.close()
    store = RegionStore(tmp_path)

    def is_all_there() -> bool:
        store.refresh()
        return len(store) == 3

    eventually(is_all_there, PATIENCE)
    store.close()


def test_one_process_at_a_time_has_what_was_left(tmp_path: Path) -> None:
    """The lock is there before it is: whoever waits for it after a machine's end misses none."""
    folder, said, gate = tmp_path / "regions", tmp_path / "said", tmp_path / "gate"
    program = (
        f"import sys; from gasang.host.files import wait_for_lock; gate = open({str(gate)!r}, 'ab'); wait_for_lock(gate.fileno()); "
        f"open({str(said)!r}, 'a').write(sys.stdin.read() + ';')"
    )
    with open(gate, "ab") as closed:
        assert lock_file(closed.fileno(), shared=False)
        begin([sys.executable, "-c", program], [b"one ", b"two"], folder)
        with open(folder / LOCK, "ab") as alone:
            assert not lock_file(alone.fileno(), shared=False)
            begin([sys.executable, "-c", program], [b"never"], folder)
            closed.close()
            wait_for_lock(alone.fileno())
    assert said.read_text() == "one two;"


def test_each_page_has_one_process_and_all_effort_one_of_its_own() -> None:
    pages = [Page(LOOP, b"", stamp) for stamp in (3, 5, 7, 3)]
    asked = [request(number)._replace(pages={0: page}) for number, page in enumerate(pages)]
    hot = request(4)._replace(full=True)
    nowhere = request(5)._replace(pages={})
    assert shares_of([*asked, hot, nowhere], 2) == [(False, {4}), (True, {0, 3}), (True, {1, 2})]
    assert shares_of([*asked, hot], 1) == [(False, {4}), (True, {0, 1, 2, 3})]
    assert shares_of([hot], 2) == [(False, {0})]
    assert shares_of([], 2) == []
