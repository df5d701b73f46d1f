"""When code is worth being compiled: where what that will probably save is more than what it costs.

Code that has cost so much so far will probably cost as much again; compiled, it costs a part of that. What compiling takes is learned from
what it has taken. So a program that runs for seconds is compiled soon, and a boot that executes everything a little is left to the
interpreter; and whatever a guest does, compiling takes no more than a share of what the guest itself has taken.
"""

from __future__ import annotations

from typing import Final

SAMPLE: Final = 3e-6
"""Seconds that a sample stands for, of which there is one in 900 instructions, interpreted."""
SAVED: Final = 0.8
"""The share of its time that code saves once it is compiled."""
START: Final = 0.35
"""Seconds that the compiler's process takes to begin."""
REGION: Final = 0.04
"""Seconds that a region takes to be compiled, however small it is: as long as nobody knows better, as the next."""
STEP: Final = 2e-3
"""Seconds that each of its instructions takes."""
LIKELY: Final = 40
"""Instructions of a region that nobody has formed yet."""
STARTS: Final = 100
"""Further starts of a machine that what is kept on disk is compiled for."""
SPARE: Final = 0.35
"""The weight of a second on a processor that is not the machine's: what two halves of a core take from each other."""
_KNOWN: Final = REGION + 200 * STEP
"""Seconds of compiling after which what was measured counts as much as these figures."""
_FADES: Final = 0.98


class Price:
    """What compiling costs on this host; `start` are the seconds that it takes to have a process that compiles.

    `weight` is what a second of the compiler's counts beside one of the guest's.
    """

    def __init__(self, start: float = START, weight: float = 1.0) -> None:
        self.start = start * weight
        self._weight = weight
        self._expected = self._taken = _KNOWN

    @property
    def scale(self) -> float:
        """How many times as long as expected compiling takes."""
        return self._taken / self._expected

    def learn(self, steps: int, seconds: float) -> None:
        """A region of so many instructions took so long."""
        self._expected = self._expected * _FADES + REGION + steps * STEP
        self._taken = self._taken * _FADES + seconds

    def gain(self, heat: int, steps: int) -> float:
        """Seconds won by having code compiled that was met in so many samples."""
        return heat * SAMPLE * SAVED - self._weight * (REGION + steps * STEP) * self.scale

    def most(self, heat: int, starts: int = 1) -> int:
        """Instructions that a region may have to be worth it, if as much is saved at so many starts."""
        return max(int((starts * heat * SAMPLE * SAVED / self._weight / self.scale - REGION) / STEP), 1)
