"""Why a hart's run loop returns to its caller, and what it is asked to do between instructions."""

from __future__ import annotations

NONE = 0
LIMIT = 1
"""The instructions allowed are used up."""
MMIO_READ = 2
MMIO_WRITE = 3
SBI = 4
"""An environment call from S-mode that native code does not answer by itself."""
WAIT = 5
"""wfi with nothing pending."""
STOPPED = 6
"""Somebody asked the hart to stop (REQUEST_STOP)."""
TRAP = 7
"""A trap was delivered on a hart whose traps are watched (Cpu.watches_traps); it goes on at the handler."""
LOST = 8
"""The same exception has come so often in a row, next to nothing done between, that the hart may never go on (trap.REPEATS)."""

HOT = 9
"""Polls have found the hart at cpu.pc's stretch of code so often that it pays to compile it."""
DIFFERENCE = 10
"""A compiled region did not do what the interpreter does (check.py)."""

MMIO_IDLE = 0
MMIO_ASKED = 1
MMIO_DONE = 2
MMIO_FAULT = 3

REQUEST_STOP = 1
REQUEST_FLUSH_TLB = 2
REQUEST_FLUSH_WRITES = 4
"""Drop write translations: some page has become code."""
REQUEST_FENCE_I = 8
