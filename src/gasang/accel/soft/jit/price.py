"""When code is worth being compiled: where what that will probably save is more than what it costs.

Code that has cost so much so far will probably cost as much again; compiled, it costs a part of that. What compiling takes is learned from
what it has taken. So a program that runs for seconds is compiled soon, and a boot that executes everything a little is left to the
interpreter; and whatever a guest does, compiling takes no more than a share of what the guest itself has taken.
"""

from __future__ import annotations

from typing import Final

SAMPLE: Final = 3e-6
"""Seconds that a sample stands for, of which there is one in 900 instructions, interpreted."""
SAVED: Final = 0.6
"""The share of its time that code saves once it is compiled."""
START: Final = 0.35
"""Seconds that the compiler's process takes to begin."""
REGION: Final = 0.015
"""Seconds that a region takes to be compiled, however small it is."""
STEP: Final = 1.2e-3
"""Seconds that each of its instructions takes, as long as nobody knows better."""
LIKELY: Final = 40
"""Instructions of a region that nobody has formed yet."""
STARTS: Final = 100
"""Further starts of a machine that what is kept on disk is compiled for."""
_KNOWN: Final = 200
"""Instructions after which a measured time counts as much as STEP."""
_FADES: Final = 0.98


class Price:
    """What compiling costs on this host; `start` are the seconds that it takes to have a process that compiles."""

    def __init__(self, start: float = START) -> None:
        self.start = start
        self._steps = float(_KNOWN)
        self._seconds = _KNOWN * STEP

    @property
    def step(self) -> float:
        """Seconds that an instruction adds."""
        return self._seconds / self._steps

    def learn(self, steps: int, seconds: float) -> None:
        """A region of so many instructions took so long."""
        self._steps = self._steps * _FADES + steps
        self._seconds = self._seconds * _FADES + max(seconds - REGION, 0.0)

    def gain(self, heat: int, steps: int) -> float:
        """Seconds won by having code compiled that was met in so many samples."""
        return heat * SAMPLE * SAVED - REGION - steps * self.step

    def most(self, heat: int, starts: int = 1) -> int:
        """Instructions that a region may have to be worth it, if as much is saved at so many starts."""
        return max(int((starts * heat * SAMPLE * SAVED - REGION) / self.step), 1)
