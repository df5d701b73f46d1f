"""A machine's compiled regions with what they are made by: compiler, price, code cache."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gasang.accel.soft.jit.price import SPARE, START, Price
from gasang.accel.soft.jit.regions import Regions
from gasang.accel.soft.jit.service import CompileService, Launch
from gasang.accel.soft.jit.store import RegionStore
from gasang.host.limits import processors

if TYPE_CHECKING:
    from gasang.accel.soft.machine import SoftMachine


def make_regions(machine: SoftMachine, compiler: Launch | None, code_cache: Path | RegionStore | None, *, checked: bool) -> Regions:
    """As SoftMachine is told. One that is to be checked compiles what it can, whatever it costs."""
    folder = code_cache if isinstance(code_cache, Path) else None
    store = RegionStore(folder) if folder is not None else code_cache
    assert not isinstance(store, Path)
    price = None if checked else Price(START if compiler is None else 0, SPARE if processors() > machine.hart_count else 1)
    service = partial(CompileService, folder=folder, launch=compiler, price=price, warn=lambda sentence: machine.warn(sentence))
    return Regions(machine, service, store=store, checked=checked)
