"""The platform-level interrupt controller (RISC-V PLIC specification 1.0).

Sources are level-triggered and numbered from 1. A context is one privilege mode of one hart; `targets[n]` is the wire of
context n, or None where the board connects none (its registers read as zero then).

Register map (32-bit registers, chapter "Memory Map"):

    0x000000 + 4 n              priority of source n
    0x001000                    pending bits
    0x002000 + 0x80 c           enable bits of context c
    0x200000 + 0x1000 c         priority threshold of context c; + 4: claim (read) and complete (write)

The specification's gateway cannot take back a request once made. Here a line that falls before its interrupt is claimed
takes it back: to the guest that looks as if another context had claimed it, and it saves the guest a handler call with
nothing to do. So a source is pending exactly while its line is up and its last claim, if any, is complete.
"""

from __future__ import annotations

from collections.abc import Sequence

from gasang.core.protocols import Interrupt, State
from gasang.devices.state import check_version

SIZE = 0x600000
"""The window stock device trees announce; it has room for 1024 contexts."""

PRIORITY_LIMIT = 7
PENDING, ENABLE, CONTEXT = 0x1000, 0x2000, 0x200000
ENABLE_STRIDE, CONTEXT_STRIDE = 0x80, 0x1000
WORD = 0xFFFF_FFFF


class PlicLine:
    """The wire from one device to one source of a Plic: an `IrqLine`."""

    __slots__ = ("_plic", "_source")

    def __init__(self, plic: Plic, source: int) -> None:
        self._plic = plic
        self._source = source

    def set(self, level: bool) -> None:
        """Drive the wire. The caller holds the machine's bus lock."""
        self._plic.set_level(self._source, level)


class _Context:
    """What one context has programmed, and whether its wire is up."""

    __slots__ = ("enabled", "notified", "target", "threshold")

    def __init__(self, target: Interrupt) -> None:
        self.target = target
        self.enabled = 0
        self.threshold = 0
        self.notified = False


class Plic:
    """Routes `sources` interrupt sources to the contexts in `targets`. Sets of sources are integers: bit n is source n."""

    size = SIZE

    def __init__(self, sources: int, targets: Sequence[Interrupt | None]) -> None:
        if not 1 <= sources <= 1023:
            raise ValueError(f"a PLIC has 1 to 1023 sources, not {sources}")
        self.sources = sources
        self._known = (1 << (sources + 1)) - 2
        self._contexts = [None if target is None else _Context(target) for target in targets]
        self._priority = [0] * (sources + 1)
        self._level = 0
        self._claimed = 0

    @property
    def _pending(self) -> int:
        return self._level & ~self._claimed

    def line(self, source: int) -> PlicLine:
        """The wire into `source`; raise ValueError for a source that does not exist."""
        if not 1 <= source <= self.sources:
            raise ValueError(f"interrupt source {source}: this PLIC has 1 to {self.sources}")
        return PlicLine(self, source)

    def set_level(self, source: int, level: bool) -> None:
        """The gateway: a raised line asks for service unless the last service of it is not complete yet."""
        bit = 1 << source
        if level == bool(self._level & bit):
            return
        self._level ^= bit
        self._notify()

    def read(self, offset: int, width: int) -> int:
        """A 32-bit register; reading a context's claim register claims. Other widths and places read as zero."""
        if width != 4 or offset & 3:
            return 0
        if offset >= CONTEXT:
            return self._read_context(offset - CONTEXT)
        if offset >= ENABLE:
            number, word = divmod(offset - ENABLE, ENABLE_STRIDE)
            context = self._context(number)
            return (context.enabled >> (8 * word)) & WORD if context else 0
        if offset >= PENDING:
            return (self._pending >> (8 * (offset - PENDING))) & WORD
        source = offset >> 2
        return self._priority[source] if source <= self.sources else 0

    def write(self, offset: int, width: int, value: int) -> None:
        """Take a store to a 32-bit register; other widths, places and read-only bits ignore it."""
        if width != 4 or offset & 3:
            return
        if offset >= CONTEXT:
            self._write_context(offset - CONTEXT, value)
        elif offset >= ENABLE:
            self._write_enable(offset - ENABLE, value)
        elif offset < PENDING and 1 <= offset >> 2 <= self.sources:
            self._priority[offset >> 2] = value & PRIORITY_LIMIT
        self._notify()

    def reset(self) -> None:
        """Nothing enabled, nothing in service; the devices' wires keep their levels."""
        self._priority = [0] * (self.sources + 1)
        self._claimed = 0
        for context in self._contexts:
            if context:
                context.enabled = context.threshold = 0
        self._notify()

    def save(self) -> State:
        """Registers, gateways and wires."""
        return {
            "version": 1,
            "priority": list(self._priority),
            "level": self._level,
            "claimed": self._claimed,
            "contexts": [None if c is None else [c.enabled, c.threshold] for c in self._contexts],
        }

    def load(self, state: State) -> None:
        """Become the saved controller of the same shape, and drive every target's wire accordingly."""
        check_version(state, "PLIC", 1)
        self._priority = list(state["priority"])
        self._level, self._claimed = state["level"], state["claimed"]
        for context, saved in zip(self._contexts, state["contexts"], strict=True):
            if context:
                context.enabled, context.threshold = saved
        self._notify()

    def _context(self, number: int) -> _Context | None:
        return self._contexts[number] if number < len(self._contexts) else None

    def _read_context(self, offset: int) -> int:
        number, register = divmod(offset, CONTEXT_STRIDE)
        context = self._context(number)
        if context is None:
            return 0
        if register == 0:
            return context.threshold
        return self._claim(context) if register == 4 else 0

    def _write_context(self, offset: int, value: int) -> None:
        number, register = divmod(offset, CONTEXT_STRIDE)
        context = self._context(number)
        if context is None:
            return
        if register == 0:
            context.threshold = value & PRIORITY_LIMIT
        elif register == 4:
            self._complete(context, value)

    def _write_enable(self, offset: int, value: int) -> None:
        number, word = divmod(offset, ENABLE_STRIDE)
        context = self._context(number)
        if context:
            shift = 8 * word
            context.enabled = (context.enabled & ~(WORD << shift) | (value << shift)) & self._known

    def _best(self, candidates: int) -> int:
        """The source of highest priority among the bits of `candidates`, the lowest number first; 0 if none has a priority."""
        best = highest = 0
        while candidates:
            bit = candidates & -candidates
            candidates ^= bit
            source = bit.bit_length() - 1
            if self._priority[source] > highest:
                best, highest = source, self._priority[source]
        return best

    def _claim(self, context: _Context) -> int:
        # The threshold masks notifications, not claims (chapter "Interrupt Claim Process").
        source = self._best(self._pending & context.enabled)
        if source:
            self._claimed |= 1 << source
            self._notify()
        return source

    def _complete(self, context: _Context, source: int) -> None:
        bit = 1 << source if source <= self.sources else 0
        if bit & context.enabled & self._claimed:
            self._claimed &= ~bit

    def _notify(self) -> None:
        """Bring every context's wire in line with the registers; only changes are told."""
        pending = self._pending
        for context in self._contexts:
            if context is None:
                continue
            candidates = pending & context.enabled
            notify = bool(candidates) and self._priority[self._best(candidates)] > context.threshold
            if notify != context.notified:
                context.notified = notify
                context.target(notify)
