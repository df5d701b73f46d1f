"""The compile service's process: requests on its standard input, answers on its standard output.

It shares nothing with the machine but the code cache on disk, where it keeps what it has compiled, by what it was compiled from: a machine
cannot have it keep anything for other code. LLVM may take long, take much memory, or end the process: the machine goes on, and starts
another.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gasang.accel.soft.jit.messages import Answer, Request, pack_answer, read_request
from gasang.accel.soft.jit.pack import stamp_of
from gasang.accel.soft.jit.store import RegionStore
from gasang.cpus.riscv64.state import PAGE_SIZE, STRETCHES
from gasang.host.limits import limit_memory, limit_time, yield_processor

if TYPE_CHECKING:
    from gasang.cpus.riscv64.region.shape import Region

MOST_MEMORY = 1 << 30
"""Bytes of data: LLVM that wants more ends, and the region stays interpreted."""
MOST_SECONDS = 60
"""Processor time of one request."""
FEW_STEPS = 300
"""Instructions of a brief region."""
COLD = 256
"""A page with less than one in so many of a region's samples is left out of it."""


def main(folder: str = "") -> None:
    """Answer until the machine is gone. `folder` is where the code cache is."""
    limit_worker()
    store = RegionStore(Path(folder)) if folder else None
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    while (request := read_request(requests)) is not None:
        limit_request()
        answers.write(pack_answer(serve(request, store)))
        answers.flush()


def limit_worker() -> None:
    """What a process that compiles may take: others come first."""
    limit_memory(MOST_MEMORY)
    with suppress(PermissionError):  # who is in jail has done it before
        yield_processor()


def limit_request() -> None:
    """And for one region."""
    limit_time(MOST_SECONDS)


def serve(request: Request, store: RegionStore | None, *, brief: bool = False) -> Answer:
    """What somebody has compiled already, or what is compiled now, and kept; `brief` where LLVM is to have little to do with it.

    Such regions are smaller, too: LLVM takes more for each instruction the more there are (ADR 0052).
    """
    if store is None:
        return answer(request, brief=brief)
    sealed = _stamped(request)
    began = time.process_time()
    shape = _shape(sealed, brief=brief)
    found = None if shape is None else _kept(sealed, store, frozenset(shape.places), brief=brief)
    if found is not None:
        return found._replace(number=request.number)
    made = _compiled(sealed, shape, began, brief=brief)
    if made.image:
        store.add(made, {delta: sealed.pages[delta].content for delta in made.stamps}, multi=request.multi)
    return made


def _stamped(request: Request) -> Request:
    """The request with stamps that are of the contents, whatever it said."""
    return request._replace(pages={delta: page._replace(stamp=stamp_of(page.content)) for delta, page in request.pages.items()})


def _kept(request: Request, store: RegionStore, places: frozenset[int], *, brief: bool) -> Answer | None:
    """A region that has these places and lies on just these pages. One that has fewer was compiled when less had been executed.

    A brief one is none to who wants more: a machine that finds it hot has it already.
    """
    store.refresh()
    pages = request.pages
    for entry in store.about(pages[0].stamp) if 0 in pages else ():
        for at in [page.delta for page in entry.pages if page.stamp == pages[0].stamp]:
            if entry.multi != request.multi or entry.brief > brief or at != 0 or any(page.delta not in pages for page in entry.pages):
                continue
            found = store.load(entry, {page.delta: pages[page.delta].content for page in entry.pages})
            if found is not None and places.issubset(found.places):
                return found
    return None


def answer(request: Request, *, brief: bool = False) -> Answer:
    """Compile."""
    began = time.process_time()
    return _compiled(request, _shape(request, brief=brief), began, brief=brief)


def _shape(request: Request, *, brief: bool) -> Region | None:
    """What the region consists of.

    A brief one lies on one page: to see, each time it is begun, whether others are what they were takes longer than it is stayed in.
    """
    from gasang.cpus.riscv64.region.calls import MOST_COPIED
    from gasang.cpus.riscv64.region.pages import CodePage, Graph
    from gasang.cpus.riscv64.region.shape import MOST_STEPS, form

    pages = {delta: CodePage(delta, page.content, page.executed) for delta, page in request.pages.items() if delta == 0 or not brief}
    jumps: dict[int, set[int]] = {}
    for place, target in request.jumps:
        jumps.setdefault(place, set()).add(target)
    limits = (FEW_STEPS, 0) if brief else (MOST_STEPS, MOST_COPIED)
    shape = form(Graph(pages, jumps), request.hot, *limits)
    while shape is not None and (cold := _cold_pages(request, shape)):
        pages = {delta: page for delta, page in pages.items() if delta not in cold}
        shape = form(Graph(pages, jumps), request.hot, *limits)
    return shape


def _cold_pages(request: Request, shape: Region) -> set[int]:
    """Pages that a region would lie on for next to nothing: it is begun only where all of them are known, and for these that is rare."""
    heats = _heats(request, shape)
    all_heat = sum(heats.values())
    by_page = dict.fromkeys((delta for delta, _ in heats), 0)
    for (delta, _), heat in heats.items():
        by_page[delta] += heat
    return {delta for delta, heat in by_page.items() if delta != 0 and (heat + 1) * COLD < all_heat}


def _share(request: Request, shape: Region) -> int:
    """How many of a region's instructions the hot place's stretch has to be worth: the other stretches are hot too."""
    heats = _heats(request, shape)
    hot = 0, request.hot * STRETCHES // PAGE_SIZE
    heats[hot] = _heat(request, *hot)
    return -(-len(shape.steps) * max(heats[hot], 1) // max(sum(heats.values()), 1))


def _heats(request: Request, shape: Region) -> dict[tuple[int, int], int]:
    """The heat of each stretch that a region has instructions in, by page and number."""
    stretches = {(place // PAGE_SIZE, place % PAGE_SIZE * STRETCHES // PAGE_SIZE) for place in shape.places}
    return {where: _heat(request, *where) for where in stretches}


def _heat(request: Request, delta: int, stretch: int) -> int:
    heats = request.pages[delta].heats
    return heats[stretch] if stretch < len(heats) else 0


def _compiled(request: Request, shape: Region | None, began: float, *, brief: bool = False) -> Answer:
    if shape is None:
        return Answer(request.number, (), {}, (), time.process_time() - began, b"")
    if 0 < request.most < (share := _share(request, shape)):
        return Answer(request.number, (), {}, (), time.process_time() - began, b"", share)
    from gasang.cpus.riscv64.region.code import compile_shape  # what comes from disk, or is not worth it, takes no LLVM

    stamps = {delta: page.stamp for delta, page in request.pages.items()}
    made = compile_shape(shape, stamps, multi=request.multi, brief=brief)
    seconds = time.process_time() - began
    return Answer(request.number, made.entries, made.stamps, made.places, seconds, made.image.pack(), brief=brief)
