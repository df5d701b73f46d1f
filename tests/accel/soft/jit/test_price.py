"""What is worth being compiled, and when the service begins with it."""

from __future__ import annotations

import queue

from gasang.accel.soft.jit.messages import PLACES, Answer, Page, Request
from gasang.accel.soft.jit.price import LIKELY, REGION, SAMPLE, SAVED, STEP, Price
from gasang.accel.soft.jit.service import CompileService
from gasang.accel.soft.jit.worker import COLD, answer
from gasang.cpus.riscv64.state import PAGE_SIZE
from support.bare import asm

PATIENCE = 120
WORTH = int((REGION + LIKELY * STEP) / SAMPLE / SAVED) + 1
"""Samples that are worth a region as it is likely to be."""


def request(number: int, steps: int = 2) -> Request:
    """A loop of so many instructions."""
    loop = asm("addi", rd=5, rs1=5, imm=1) * (steps - 1) + asm("jal", rd=0, imm=-4 * (steps - 1))
    page = Page(loop.ljust(PAGE_SIZE, b"\0"), (b"\1" * 2 * steps).ljust(PLACES, b"\0"), 9)
    return Request(number, 0, False, (), {0: page})


def test_code_is_worth_it_when_it_has_cost_enough() -> None:
    price = Price()
    assert price.gain(WORTH, LIKELY) >= 0 > price.gain(WORTH - 2, LIKELY)
    assert price.most(WORTH) == LIKELY
    assert price.most(WORTH, starts=3) > 3 * LIKELY
    assert price.most(0) == 1  # 0 would be any number


def test_what_it_costs_is_learned() -> None:
    price = Price()
    for _ in range(400):
        price.learn(100, 4 * (REGION + 100 * STEP))
    assert 3.9 < price.scale <= 4
    assert price.gain(WORTH, LIKELY) < 0


def test_a_processor_to_spare_makes_code_worth_it_sooner() -> None:
    price, spare = Price(), Price(weight=0.1)
    assert spare.gain(WORTH // 10 + 1, LIKELY) >= 0 > spare.gain(WORTH // 10 - 1, LIKELY)
    assert spare.start == price.start / 10
    assert spare.most(WORTH) >= 9 * price.most(WORTH)


def test_nothing_is_started_before_it_is_worth_that() -> None:
    answers: queue.Queue[Answer] = queue.Queue()
    made = CompileService(answers.put, price=Price())
    made.start()
    made.ask(WORTH, request(1))
    made.ask(2 * WORTH, request(2))
    assert made.process is None
    made.hotter(20 * WORTH, 1, lambda: request(1))
    assert answers.get(timeout=PATIENCE).number == 1
    assert answers.get(timeout=PATIENCE).number == 2
    made.close()
    assert made.starts == 1


def test_a_region_that_is_larger_than_its_heat_is_worth_waits_until_it_is_hotter() -> None:
    answers: queue.Queue[Answer] = queue.Queue()
    made = CompileService(answers.put, price=Price(start=0))
    made.start()
    large = request(1, steps=4 * LIKELY)
    made.ask(2 * WORTH, large)
    made.ask(2 * WORTH - 1, request(2))
    assert answers.get(timeout=PATIENCE).number == 2  # after the other was looked at, and put back
    made.hotter(1000 * WORTH, 1, lambda: large)
    answer = answers.get(timeout=PATIENCE)
    assert (answer.number, len(answer.places)) == (1, 4 * LIKELY)
    made.close()


def test_a_region_is_worth_what_all_its_stretches_have_cost() -> None:
    """The hot place's is a tenth of what the loop has cost: of the loop's instructions a tenth must be worth it."""
    steps = 60  # of four bytes, on two stretches
    loop = request(1, steps)
    page = loop.pages[0]
    alone, together = [loop._replace(most=10, pages={0: page._replace(heats=heats)}) for heats in ((100, 0), (100, 900))]
    assert (answer(alone).steps, answer(alone).image) == (steps, b"")
    assert len(answer(together).places) == steps
    assert answer(together).image
    assert answer(together._replace(most=5)).steps == steps // 10
    assert answer(loop._replace(most=10)).steps == steps  # where nobody knows


def test_a_page_that_is_hardly_executed_is_left_out() -> None:
    """A region begins only where all its pages are known."""
    near = asm("addi", rd=5, rs1=5, imm=1) + asm("bne", rs1=9, rs2=0, imm=PAGE_SIZE - 4) + asm("jal", rd=0, imm=-8)
    far = asm("addi", rd=10, rs1=10, imm=1) + asm("jal", rd=0, imm=-PAGE_SIZE - 4)
    executed = (b"\1\0" * 3).ljust(PLACES, b"\0")

    def pages_of(heat: int) -> set[int]:
        pages = {0: Page(near.ljust(PAGE_SIZE, b"\0"), executed, 9, (10_000,)), 1: Page(far.ljust(PAGE_SIZE, b"\0"), executed, 8, (heat,))}
        return set(answer(Request(1, 0, False, (), pages)).stamps)

    assert pages_of(0) == {0}
    assert pages_of(10_000 // COLD - 1) == {0}
    assert pages_of(10_000 // COLD + 2) == {0, 1}
