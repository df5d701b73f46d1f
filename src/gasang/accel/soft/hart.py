"""One vCPU of the software machine: its native state, its decoded code, and what its thread does outside the run loop."""

from __future__ import annotations

import ctypes
import os
import threading
from typing import TYPE_CHECKING

from gasang.accel.soft.decoded import Marks, join, marks_of
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.block import Block
from gasang.cpus.riscv64.clock import TIMEBASE
from gasang.cpus.riscv64.state import SUPERVISOR, Cpu
from gasang.cpus.riscv64.trap import SEIP
from gasang.cpus.riscv64.waits import SHORT_WAIT
from gasang.devices.bus import BusError
from gasang.host.futex import futex_call
from gasang.host.memory import LazyMemory, populate
from gasang.native.types import instance, size_of

if TYPE_CHECKING:
    from gasang.accel.soft.jit.check import Turn
    from gasang.accel.soft.lost import Watch
    from gasang.accel.soft.machine import SoftMachine
    from gasang.accel.soft.stitched import StitchedCode

UNLIMITED = 1 << 62
BLOCKS = 3072
"""Code pages a hart keeps decoded (32 KiB each): beyond that those not executed for longest are forgotten, and decoded anew."""
PARENTS_BLOCKS, TWINS_BLOCKS = BLOCKS + 512, BLOCKS + 1024
"""The same in processes that fork, and in forked ones: what twins share should not be forgotten for the little that each needs itself."""
IDLE_SECONDS = 0.5
"""A hart that sleeps longer gives its decoded code back."""
FEW_BLOCKS = 64
"""Fewer than these are not worth it."""
USER_COUNTERS = 7
"""cycle, time and instret are the user's from the start: kernels rely on firmware having allowed them."""
NEVER = (1 << 64) - 1
LONG_WAIT = 3600 * TIMEBASE


class Hart:
    """One vCPU: its native state, its decoded code, and its thread."""

    def __init__(self, machine: SoftMachine, number: int) -> None:
        self.machine = machine
        self.number = number
        self.cpu = instance(Cpu)
        self.address = ctypes.addressof(self.cpu)
        self.running = False
        self.watch: Watch | None = None
        self.answers = 0
        self.has_arrived = False
        """Whether compiled regions wait to be placed."""
        self.stitched: StitchedCode | None = None
        """Its stretches of machine code, made of what it executes; None where they are not wanted, or cannot be had."""
        self.forgotten: Marks = {}
        """What was decoded before it was given back, or most of it."""
        self._tickets = 0
        self._forks = False
        """Whether forked processes share what is decoded."""
        self.wakeup = threading.Event()
        self.thread: threading.Thread | None = None
        functions = machine.processor.functions
        self._run, self._post, self._retract = functions["run"], functions["post"], functions["retract"]
        self._ask, self._pending, self._time = functions["ask"], functions["pending"], functions["time_of"]
        self._serve, self._forget = functions["serve_requests"], functions["forget_all_blocks"]
        self._prepare(number)

    def _prepare(self, number: int) -> None:
        cpu, machine = self.cpu, self.machine
        self._blocks = LazyMemory(TWINS_BLOCKS * size_of(Block), "gasang-decoded", huge=True)
        self._code_map = LazyMemory(max(4096, (machine.ram.size >> 12) * 4), "gasang-code-map")
        cpu.hart = number
        cpu.multi = int(machine.hart_count > 1)
        cpu.futex = futex_call()
        cpu.eager = SHORT_WAIT if 1 < machine.hart_count <= len(os.sched_getaffinity(0)) else 0
        cpu.shared = ctypes.addressof(machine.shared)
        cpu.code_map, cpu.blocks, cpu.block_count = self._code_map.address, self._blocks.address, BLOCKS
        cpu.decode_tables = ctypes.addressof(machine.processor.decoder.pointer)
        cpu.dispatch = ctypes.addressof(machine.processor.dispatch)
        cpu.fusions = ctypes.addressof(machine.processor.fusions)
        cpu.helpers = ctypes.addressof(machine.processor.helpers)
        if machine.stitches:
            self.have_stitched()
        cpu.stimecmp = NEVER
        cpu.privilege = SUPERVISOR
        cpu.remaining = UNLIMITED
        machine.processor.functions["wipe_tlb"](self.address)
        machine.processor.functions["enter_context"](self.address)

    def have_stitched(self) -> None:
        """Have what is executed often stitched together as machine code from now on, where the host can. The hart stands still."""
        from gasang.accel.soft.stitched import stitched_code  # a start without has no time for it

        self.stitched = stitched_code(self.machine.processor, alone=self.machine.hart_count == 1)
        if self.stitched is not None:
            self.cpu.stitcher = self.stitched.address

    def reset(self, pc: int, a0: int, a1: int) -> None:
        """The state in which SBI starts a hart (SBI 2.0, chapter 9): S-mode, paging off, interrupts off."""
        cpu = self.cpu
        cpu.pc, cpu.privilege, cpu.satp, cpu.status, cpu.sie = pc, SUPERVISOR, 0, 0, 0
        cpu.scounteren = USER_COUNTERS
        cpu.exit = exits.NONE
        cpu.mmio_state = exits.MMIO_IDLE
        cpu.trap_repeats = 0
        self.machine.processor.functions["give_up"](self.address)
        cpu.x[10], cpu.x[11] = a0, a1
        self.machine.processor.functions["enter_context"](self.address)

    def begin(self, pc: int, a0: int, a1: int) -> None:
        """Start executing at `pc`."""
        self.reset(pc, a0, a1)
        self.running = True
        self.wakeup.set()

    def close(self) -> None:
        """Give the memory back."""
        self._blocks.close()
        self._code_map.close()
        if self.stitched is not None:
            self.stitched.close()

    @property
    def instructions(self) -> int:
        """Instructions retired; exact while the hart is stopped."""
        return int(self.machine.processor.functions["instructions"](self.address))

    def interrupt(self, bits: int, level: bool) -> None:
        """Set or clear bits of sip, waking the hart if it waits."""
        if level:
            self._post(self.address, bits)
            self.wakeup.set()
        else:
            self._retract(self.address, bits)

    def external_interrupt(self, level: bool) -> None:
        """The interrupt controller's line (core.protocols.Interrupt)."""
        self.interrupt(SEIP, level)

    def request(self, bits: int) -> None:
        """Ask the hart for something at its next poll."""
        self._ask(self.address, bits)
        self.wakeup.set()

    def nudge(self) -> None:
        """Have the hart's thread leave its run loop and come back."""
        self.request(exits.REQUEST_STOP)

    def ask_answer(self, request: int) -> int:
        """Ask for something that is answered; done once `answers` has reached the ticket returned."""
        with self.machine.answered:
            self._tickets += 1
            self.request(request | exits.REQUEST_STOP)
            return self._tickets

    def answer(self) -> None:
        """The hart has served its requests and left the run loop: whoever asked may go on."""
        with self.machine.answered:
            if self.cpu.requests & exits.REQUEST_STOP == 0:  # else it is asked anew, and comes here again
                self.answers = self._tickets
                self.machine.answered.notify_all()

    def answer_requests(self) -> None:
        """Serve requests from outside the run loop, on the hart's own thread."""
        if self.cpu.requests:
            self._serve(self.address)
            self.cpu.exit = exits.NONE
            self.answer()
            if self.machine.serial.has_some:
                self.request(exits.REQUEST_STOP)  # what it has sent is seen to when it goes on

    def wait(self) -> None:
        """Sleep until an interrupt, a request, or the timer."""
        self.wakeup.clear()
        if not self._pending(self.address):
            self._sleep()

    def _sleep(self) -> None:
        left = self.cpu.stimecmp - self._time(self.address)
        seconds = None if left > LONG_WAIT else max(left, 0) / TIMEBASE
        if seconds is not None and seconds < IDLE_SECONDS:
            self.wakeup.wait(seconds)
        elif not self.wakeup.wait(IDLE_SECONDS):
            self._forget_decoded()
            self.wakeup.wait(None if seconds is None else seconds - IDLE_SECONDS)

    def _forget_decoded(self) -> None:
        """A hart that has nothing to do needs no decoded code; it is decoded anew when it goes on.

        What forked processes share stays: each would have its own in its place, for what it does now and then.
        """
        if self.cpu.blocks_used > FEW_BLOCKS and not self._forks:
            if len(self.forgotten) > BLOCKS:
                self.forgotten.clear()
            join(self.forgotten, marks_of(self))
            self._forget(self.address)
            self._blocks.release()
            if self.stitched is not None:
                self.stitched.release()

    def judge(self) -> None:
        """Find out whether the hart can ever go on, having left its run loop with exits.LOST. Raises LostGuestError if not."""
        if self.watch is None:
            from gasang.accel.soft.lost import Watch  # knows every instruction: a start has no time for that

            self.watch = Watch(self)
        self.watch.look()

    def last_one(self) -> None:
        """Have the run loop end behind the instruction whose device access is done; its thread then finds a request to stop."""
        cpu = self.cpu
        spare = cpu.budget - 1  # an instruction that asks a device has one of the budget (cpus/riscv64/execute.py)
        cpu.quantum -= spare
        cpu.remaining += spare
        cpu.budget = 1
        self.request(exits.REQUEST_STOP)

    def renew(self) -> None:
        """In a forked process, whose only thread is the caller's: what the parent's threads held is free."""
        self.wakeup = threading.Event()
        self.thread = None
        self.cpu.block_count = TWINS_BLOCKS

    def make_private(self) -> None:
        """Have the decoded code copied on write by a fork from now on. Raises what LazyMemory.make_private raises."""
        self._blocks.make_private()
        self._blocks.advise()  # or what a twin decodes would cost 2 MiB at a time
        self._code_map.make_private()
        self._forks = True
        self.cpu.block_count = max(self.cpu.block_count, PARENTS_BLOCKS)

    def before_fork(self) -> None:
        """The hart stands still, and the process is about to fork: twins would share stitched code, which no fork copies."""
        self.machine.processor.functions["end_stitching"](self.address)

    def copy_ahead(self) -> None:
        """In a forked process: have a copy of its state and its soft TLB, all of which are written, before it executes."""
        populate(self.address, size_of(Cpu))

    def run_in_turn(self, turn: Turn) -> None:
        """Execute only while it is this hart's turn."""
        run = self._run

        def run_alone(address: int) -> None:
            turn.take(self)
            try:
                run(address)
            finally:
                turn.give()

        self._run = run_alone

    def single(self) -> int:
        """Execute one instruction, or take one trap, and what it asks of devices on the way. exits.LIMIT if nothing else came between."""
        cpu = self.cpu
        allowed = int(cpu.remaining + cpu.budget)
        cpu.retired += cpu.quantum - cpu.budget
        cpu.budget = cpu.quantum = 0
        watched, cpu.watches_traps = cpu.watches_traps, 0
        cpu.remaining = 1
        while (reason := Hart.step(self)) in (exits.MMIO_READ, exits.MMIO_WRITE):
            pass
        cpu.remaining, cpu.watches_traps = max(allowed - 1, 0), watched
        return reason

    def step(self) -> int:
        """Run until the processor needs something; do it where that is a device access. The reason (exits.py)."""
        cpu = self.cpu
        self._run(self.address)
        reason = int(cpu.exit)
        if reason in (exits.MMIO_READ, exits.MMIO_WRITE):
            self._device_access(reason)
        return reason

    def _device_access(self, reason: int) -> None:
        cpu = self.cpu
        size = int(cpu.mmio_size)
        try:
            if reason == exits.MMIO_READ:
                cpu.mmio_value = self.machine.bus.read(int(cpu.mmio_address), size) & ((1 << (8 * size)) - 1)
            else:
                self.machine.bus.write(int(cpu.mmio_address), size, int(cpu.mmio_value) & ((1 << (8 * size)) - 1))
            cpu.mmio_state = exits.MMIO_DONE
        except BusError:
            cpu.mmio_state = exits.MMIO_FAULT
