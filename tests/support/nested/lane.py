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
from support.nested.inside import AGENT, LIMIT
from support.nested.machine import Nested, NestedError, initramfs, tree

SHIPPED: Final = ("pyproject.toml", "src/gasang", "tests/nested", "tests/support", "tests/accel/kvm", "tests/kinds/vm/x86")
CASES: Final = "cases"
BOOT_LIMIT: Final = 120.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a case: pytest's word for it, seconds, and what there is to read."""

    outcome: str
    seconds: float
    text: str


class Lane:
    """One machine for all `cases`, ids of pytest. Raises GasangError where its parts cannot be had, FileNotFoundError without QEMU."""

    def __init__(self, cases: Sequence[str], environment: Mapping[str, str], progress: Progress) -> None:
        self._verdicts: dict[str, Verdict] = {}
        self._fault: NestedError | None = None
        with ExitStack() as undo:
            folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="gasang-nested-")))
            listed = Entry(path=CASES, kind=Kind.FILE, data="".join(f"{case}\n" for case in cases).encode())
            agent = Entry(path=AGENT, kind=Kind.FILE, data=agent_program(ARCHITECTURE))
            ours = initramfs(f"python3 -m support.nested.inside {CASES}", [*tree(*SHIPPED), listed, agent])
            self._machine = undo.enter_context(Nested(inputs(PYTEST, environment, progress), ours, folder))
            self._resources = undo.pop_all()
        self._limit = BOOT_LIMIT

    def verdict(self, case: str) -> Verdict:
        """Wait for a case's end. Raises NestedError where the machine ends before, says nothing for too long, or cannot run it."""
        while case not in self._verdicts:
            if self._fault is not None:
                raise NestedError(str(self._fault))
            try:
                self._take(self._machine.event(self._limit))
            except NestedError as fault:
                self._fault = fault
        return self._verdicts[case]

    def _take(self, event: dict[str, Any]) -> None:
        self._limit = LIMIT + 30.0
        match event:
            case {"event": "case", "id": id, "outcome": outcome, "seconds": seconds, "text": text}:
                known = self._verdicts.get(id)
                if known is None or known.outcome == "passed":
                    self._verdicts[id] = Verdict(outcome, seconds, text)
            case {"event": "broken", "text": text}:
                raise NestedError(f"a file of cases cannot be read inside:\n{text}")
            case {"event": "end", "code": code}:
                raise NestedError(f"all cases are over (code {code}), and this one was none of them")

    def close(self) -> None:
        """End the machine."""
        self._resources.close()
