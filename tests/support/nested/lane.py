"""The lane: cases that run inside one machine with a real KVM, one after the other; each is asked for its verdict here."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gasang.core.progress import Progress
from gasang.kinds.vm.agent.executable import agent_program
from gasang.storage.tree import Entry, Kind
from support.nested.inputs import ARCHITECTURE, PYTEST, inputs
from support.nested.inside import AGENT
from support.nested.machine import LostError, Nested, NestedError, initramfs, tree

SHIPPED: Final = ("pyproject.toml", "src/gasang", "tests/nested", "tests/support", "tests/accel/kvm", "tests/kinds/vm/x86")
CASES: Final = "cases"
BOOT_LIMIT: Final = 180.0
SILENCE: Final = 60.0
"""Seconds without a sign of life after which a machine is lost: one comes every BEAT seconds of its own time."""
LOSSES: Final = 4
"""Machines that may be lost."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a case: pytest's word for it, seconds, and what there is to read."""

    outcome: str
    seconds: float
    text: str


class Lane:
    """One machine for all `cases`, ids of pytest. Raises GasangError where its parts cannot be had, FileNotFoundError without QEMU.

    A machine that falls silent or dies is given up, and a new one has the cases that are left, LOSSES times at most. A case that loses its
    second machine has failed.
    """

    def __init__(self, cases: Sequence[str], environment: Mapping[str, str], progress: Progress) -> None:
        self._cases = cases
        self._verdicts: dict[str, Verdict] = {}
        self._begun: list[str] = []
        self._fault: NestedError | None = None
        self.losses: list[str] = []
        with ExitStack() as undo:
            self._folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="gasang-nested-")))
            self._parts = inputs(PYTEST, environment, progress)
            self._agent = Entry(path=AGENT, kind=Kind.FILE, data=agent_program(ARCHITECTURE))
            self._machine = self._boot()
            undo.callback(self._end)
            self._resources = undo.pop_all()

    def _boot(self) -> Nested:
        """A machine for the cases that have no verdict."""
        self._limit = BOOT_LIMIT
        left = "".join(f"{case}\n" for case in self._cases if case not in self._verdicts).encode()
        listed = Entry(path=CASES, kind=Kind.FILE, data=left)
        ours = initramfs(f"python3 -m support.nested.inside {CASES}", [*tree(*SHIPPED), listed, self._agent])
        return Nested(self._parts, ours, self._folder)

    def _end(self) -> None:
        self._machine.close()

    def verdict(self, case: str) -> Verdict:
        """Wait for a case's end. Raises NestedError where the machine ends before, says nothing for too long, or cannot run it."""
        while case not in self._verdicts:
            if self._fault is not None:
                raise NestedError(str(self._fault))
            try:
                self._take(self._machine.event(self._limit))
            except LostError as fault:
                self._lose(fault)
            except NestedError as fault:
                self._fault = fault
        return self._verdicts[case]

    def _take(self, event: dict[str, Any]) -> None:
        self._limit = SILENCE
        match event:
            case {"event": "begin", "id": id}:
                self._begun.append(id)
            case {"event": "case", "id": id, "outcome": outcome, "seconds": seconds, "text": text}:
                known = self._verdicts.get(id)
                if known is None or known.outcome == "passed":
                    self._verdicts[id] = Verdict(outcome, seconds, text)
            case {"event": "broken", "text": text}:
                raise NestedError(f"a file of cases cannot be read inside:\n{text}")
            case {"event": "end", "code": code}:
                raise NestedError(f"all cases are over (code {code}), and this one was none of them")

    def _lose(self, fault: LostError) -> None:
        """Go on in a new machine, if what was lost may be tried again."""
        last = self._begun[-1] if self._begun else "the boot"
        self.losses.append(f"in {last}: {fault}")
        if len(self.losses) > LOSSES:
            self._fault = fault
            return
        if self._begun.count(last) > 1:
            self._verdicts.setdefault(last, Verdict("failed", 0.0, str(fault)))
        self._machine.close()
        self._machine = self._boot()

    def close(self) -> None:
        """End the machine."""
        self._resources.close()
