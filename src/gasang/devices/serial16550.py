"""The 16550A UART (National Semiconductor PC16550D data sheet), as stock drivers know it: eight byte-wide registers.

    offset  read                    write                      with LCR bit 7 (DLAB) set
    0       RBR receive buffer      THR transmit holding       DLL divisor, low byte
    1       IER interrupt enable    IER                        DLM divisor, high byte
    2       IIR interrupt identity  FCR FIFO control
    3       LCR line control        LCR
    4       MCR modem control       MCR
    5       LSR line status
    6       MSR modem status
    7       SCR scratch             SCR

The line is infinitely fast: what the guest sends has left by the next instruction, and what the host sends waits in a
queue without bound, from which the 16-byte receive FIFO is refilled as the guest reads. So nothing is ever overrun, except
in the loopback of the self-test, where a guest can fill the FIFO itself. A FIFO below its trigger level reports the
character time-out at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol

from gasang.core.protocols import CharacterSink, IrqLine, State
from gasang.devices.state import check_version

FIFO_DEPTH = 16
TRIGGER_LEVELS = (1, 4, 8, 14)

IER_RECEIVE, IER_TRANSMIT, IER_LINE, IER_MODEM = 1, 2, 4, 8
IIR_NONE, IIR_MODEM, IIR_TRANSMIT, IIR_RECEIVE, IIR_LINE, IIR_TIMEOUT = 0x01, 0x00, 0x02, 0x04, 0x06, 0x0C
IIR_FIFO = 0xC0
FCR_ENABLE, FCR_CLEAR_RECEIVE = 1, 2
LCR_DLAB = 0x80
MCR_DTR, MCR_RTS, MCR_OUT1, MCR_OUT2, MCR_LOOP = 1, 2, 4, 8, 16
LSR_DATA, LSR_OVERRUN, LSR_THR_EMPTY, LSR_IDLE = 0x01, 0x02, 0x20, 0x40
MSR_CTS, MSR_DSR, MSR_RING, MSR_DCD = 0x10, 0x20, 0x40, 0x80
MSR_TRAILING_RING = 0x04


class Shortcut(Protocol):
    """What answers for the line status and takes bytes to be sent in place of the device, where the processor can do that by itself."""

    def offer(self, status: int, *, takes: bool) -> None:
        """From now on this is the line status, 0 if reading it changes something; bytes to be sent may wait if it `takes` them."""
        ...

    def take(self) -> bytes:
        """The bytes that wait."""
        ...


class Serial16550:
    """One UART: output goes to `sink`, input comes by `receive`, `irq` is level-triggered and not gated by OUT2."""

    size = 0x100

    def __init__(self, irq: IrqLine, sink: CharacterSink) -> None:
        self._irq = irq
        self._sink = sink
        self._waiting = bytearray()
        self._shortcut: Shortcut | None = None
        self.reset()

    def lend(self, shortcut: Shortcut) -> None:
        """Have the processor do without the device what it can. The caller holds the bus lock, or nothing runs yet."""
        self._shortcut = shortcut
        self._offer()

    def settle(self) -> None:
        """Send what waits in the shortcut. The caller holds the bus lock."""
        if self._shortcut is not None and (data := self._shortcut.take()):
            self._transmit_pending = True
            self._sink(data)

    def _offer(self) -> None:
        """Have in the shortcut what the registers say now. A byte may wait if sending it would do no more than send it."""
        if self._shortcut is not None:
            interrupts = self._ier & IER_TRANSMIT and not self._transmit_pending
            takes = not (self._lcr & LCR_DLAB or self._mcr & MCR_LOOP or interrupts)
            self._shortcut.offer(0 if self._overrun else self._status(), takes=takes)

    def receive(self, data: bytes) -> None:
        """Input from the host; it waits for the guest as long as it must. The caller holds the bus lock."""
        if data:
            self._waiting += data
            self._refill()
            self._update()
            self._offer()

    def take(self, length: int) -> bytes:
        """Up to `length` bytes of input, for a guest that asks its firmware instead of the line. The caller holds the bus lock."""
        self._fifo += self._waiting
        self._waiting.clear()
        data = bytes(self._fifo[:length])
        self._waiting += self._fifo[length:]
        self._fifo.clear()
        self._refill()
        self._update()
        self._offer()
        return data

    def read(self, offset: int, width: int) -> int:
        """The byte register at `offset`, whatever the width; 0 beyond the eighth."""
        handler = self._READS.get(offset)
        if handler is None:
            return 0
        self.settle()
        value = handler(self)
        self._offer()
        return value

    def write(self, offset: int, width: int, value: int) -> None:
        """Store the low byte of `value`; read-only registers and those beyond the eighth ignore it."""
        handler = self._WRITES.get(offset)
        if handler:
            self.settle()
            handler(self, value & 0xFF)
            self._offer()

    def reset(self) -> None:
        """The state after master reset (data sheet, table III). Input that waits in the host's queue stays."""
        self.settle()
        self._ier = self._fcr = self._lcr = self._mcr = self._scr = 0
        self._divisor = 12
        self._fifo = bytearray()
        self._overrun = False
        self._transmit_pending = False
        self._modem = self._modem_lines()
        self._modem_delta = 0
        self._refill()
        self._update()
        self._offer()

    def save(self) -> State:
        """Registers, FIFO and the host's queue."""
        self.settle()
        return {
            "version": 1,
            "registers": [self._ier, self._fcr, self._lcr, self._mcr, self._scr, self._divisor, self._modem, self._modem_delta],
            "fifo": bytes(self._fifo),
            "waiting": bytes(self._waiting),
            "overrun": int(self._overrun),
            "transmit_pending": int(self._transmit_pending),
        }

    def load(self, state: State) -> None:
        """Become the saved UART and drive the interrupt line accordingly."""
        check_version(state, "UART", 1)
        (self._ier, self._fcr, self._lcr, self._mcr, self._scr, self._divisor, self._modem, self._modem_delta) = state["registers"]
        self._fifo = bytearray(state["fifo"])
        self._waiting = bytearray(state["waiting"])
        self._overrun = bool(state["overrun"])
        self._transmit_pending = bool(state["transmit_pending"])
        self._update()
        self._offer()

    # Registers, one function an access.

    def _read_rbr(self) -> int:
        if self._lcr & LCR_DLAB:
            return self._divisor & 0xFF
        if not self._fifo:
            return 0
        byte = self._fifo.pop(0)
        self._refill()
        self._update()
        return byte

    def _write_thr(self, value: int) -> None:
        if self._lcr & LCR_DLAB:
            self._divisor = self._divisor & 0xFF00 | value
            return
        if self._mcr & MCR_LOOP:
            self._loop_back(value)
        else:
            self._sink(bytes((value,)))
        self._transmit_pending = True
        self._update()

    def _read_ier(self) -> int:
        return self._divisor >> 8 if self._lcr & LCR_DLAB else self._ier

    def _write_ier(self, value: int) -> None:
        if self._lcr & LCR_DLAB:
            self._divisor = self._divisor & 0xFF | value << 8
            return
        # Drivers rely on the empty transmitter interrupting whenever they enable that interrupt anew.
        if value & IER_TRANSMIT and not self._ier & IER_TRANSMIT:
            self._transmit_pending = True
        self._ier = value & 0x0F
        self._update()

    def _read_iir(self) -> int:
        cause = self._cause()
        if cause == IIR_TRANSMIT:
            self._transmit_pending = False
            self._update()
        return cause | (IIR_FIFO if self._fcr & FCR_ENABLE else 0)

    def _write_fcr(self, value: int) -> None:
        # Turning the FIFOs on or off empties them; the other bits count only while bit 0 is written as one.
        if (value ^ self._fcr) & FCR_ENABLE or (value & FCR_ENABLE and value & FCR_CLEAR_RECEIVE):
            self._fifo.clear()
        self._fcr = value & 0xC9 if value & FCR_ENABLE else 0
        self._refill()
        self._update()

    def _read_lcr(self) -> int:
        return self._lcr

    def _write_lcr(self, value: int) -> None:
        self._lcr = value

    def _read_mcr(self) -> int:
        return self._mcr

    def _write_mcr(self, value: int) -> None:
        self._mcr = value & 0x1F
        lines = self._modem_lines()
        changed = (lines ^ self._modem) >> 4
        # Of the ring line only the trailing edge counts.
        if changed & MSR_TRAILING_RING and lines & MSR_RING:
            changed &= ~MSR_TRAILING_RING
        self._modem = lines
        self._modem_delta |= changed
        self._refill()
        self._update()

    def _read_lsr(self) -> int:
        status = self._status()
        if self._overrun:
            self._overrun = False
            self._update()
        return status

    def _status(self) -> int:
        return LSR_THR_EMPTY | LSR_IDLE | (LSR_DATA if self._fifo else 0) | (LSR_OVERRUN if self._overrun else 0)

    def _read_msr(self) -> int:
        status = self._modem | self._modem_delta
        if self._modem_delta:
            self._modem_delta = 0
            self._update()
        return status

    def _read_scr(self) -> int:
        return self._scr

    def _write_scr(self, value: int) -> None:
        self._scr = value

    _READS: ClassVar[Mapping[int, Callable[[Serial16550], int]]] = {
        0: _read_rbr,
        1: _read_ier,
        2: _read_iir,
        3: _read_lcr,
        4: _read_mcr,
        5: _read_lsr,
        6: _read_msr,
        7: _read_scr,
    }
    _WRITES: ClassVar[Mapping[int, Callable[[Serial16550, int], None]]] = {
        0: _write_thr,
        1: _write_ier,
        2: _write_fcr,
        3: _write_lcr,
        4: _write_mcr,
        7: _write_scr,
    }

    # What follows from the registers.

    def _depth(self) -> int:
        return FIFO_DEPTH if self._fcr & FCR_ENABLE else 1

    def _refill(self) -> None:
        """Move waiting input into the FIFO; in loopback the line is disconnected."""
        if self._mcr & MCR_LOOP:
            return
        room = self._depth() - len(self._fifo)
        if room > 0 and self._waiting:
            self._fifo += self._waiting[:room]
            del self._waiting[:room]

    def _loop_back(self, value: int) -> None:
        if len(self._fifo) < self._depth():
            self._fifo.append(value)
        else:
            self._overrun = True

    def _modem_lines(self) -> int:
        """MSR bits 7 to 4: a connected peer, or in loopback the four outputs (data sheet, 8.6)."""
        if not self._mcr & MCR_LOOP:
            return MSR_CTS | MSR_DSR | MSR_DCD
        pairs = ((MCR_RTS, MSR_CTS), (MCR_DTR, MSR_DSR), (MCR_OUT1, MSR_RING), (MCR_OUT2, MSR_DCD))
        return sum(line for output, line in pairs if self._mcr & output)

    def _cause(self) -> int:
        """The interrupt of highest priority (data sheet, table II)."""
        if self._ier & IER_LINE and self._overrun:
            return IIR_LINE
        if self._ier & IER_RECEIVE and self._fifo:
            trigger = TRIGGER_LEVELS[self._fcr >> 6] if self._fcr & FCR_ENABLE else 1
            return IIR_RECEIVE if len(self._fifo) >= trigger else IIR_TIMEOUT
        if self._ier & IER_TRANSMIT and self._transmit_pending:
            return IIR_TRANSMIT
        if self._ier & IER_MODEM and self._modem_delta:
            return IIR_MODEM
        return IIR_NONE

    def _update(self) -> None:
        self._irq.set(self._cause() != IIR_NONE)
