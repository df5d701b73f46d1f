"""The loop: wait for notifications, serve what is lent, and leave the rest to the interpreter."""

from __future__ import annotations

from gasang.devices.virtio.bell import DISK
from gasang.devices.virtio.pump.calls import EINTR, Call, lock, raise_event, unlock
from gasang.devices.virtio.pump.card import card
from gasang.devices.virtio.pump.disk import ODD, disk
from gasang.devices.virtio.pump.ring import any_waiting, head_of, push, walk, wants_interrupt
from gasang.devices.virtio.pump.state import EVENTS, QUEUES, Pump, Queue
from gasang.native import boolean, i32, i64, native, ptr, ref, syscall, u32, u64

BATCH = 1024
"""Buffers of one queue at a time (devices/virtio/queue.py); what is left is rung for once more, behind the others."""


@native
def drain(p: ptr[Pump], q: ptr[Queue]) -> boolean:
    """Serve what is available; False where the rest is the interpreter's."""
    for _ in range(u32(BATCH)):
        found = any_waiting(p, q)
        if found == 0:
            return True
        if found > q.size:
            return False
        head = head_of(q)
        if not walk(p, q, head):
            return False
        written = disk(p, q) if q.kind == DISK else card(p, q)
        if written == ODD:
            return False
        q.next_available = (q.next_available + 1) & 0xFFFF
        q.served += 1
        push(p, q, head, written)
    raise_event(q.bell, ref(p.one))
    return True


@native
def serve(p: ptr[Pump], q: ptr[Queue]) -> boolean:
    """A notification of a queue; False where that is the interpreter's."""
    lock(ref(q.lock))
    done = False
    if q.lent != 0:
        done = drain(p, q)
        if not done:
            q.lent = 0
        if wants_interrupt(q):
            q.interrupted = 1
            if q.interrupt >= 0:
                raise_event(q.interrupt, ref(p.one))
    unlock(ref(q.lock))
    return done


@native
def serve_event(p: ptr[Pump], bell: i64) -> boolean:
    """An event of the descriptor `bell`; False where it is the interpreter's."""
    for i in range(u32(QUEUES)):
        if p.queues[i].bell == bell:
            return serve(p, ref(p.queues[i]))
    return False


@native
def wait(p: ptr[Pump], milliseconds: i64) -> u32:
    """Wait, at most so long (less than zero: for ever), and serve, until something is the interpreter's: how many descriptors, in `odd`.

    With a limit it returns when nothing has happened any more.
    """
    while True:
        count = syscall(Call.epoll_pwait, u64(p.waits), u64(ref(p.events)), EVENTS, u64(milliseconds), 0, 0)
        if count == 0:
            return 0
        odd: u32 = 0
        if count > 0:
            for i in range(u32(count)):
                bell = i64(i32(p.events[3 * i + 1]))
                if not serve_event(p, bell):
                    p.odd[odd] = bell
                    odd += 1
        elif count != EINTR:
            return 0
        if odd != 0:
            return odd


@native
def lend(q: ptr[Queue]) -> None:
    """Let the loop serve it."""
    lock(ref(q.lock))
    q.lent = 1
    unlock(ref(q.lock))


@native
def take_back(q: ptr[Queue]) -> None:
    """Nothing is served when this returns, nor until it is lent again."""
    lock(ref(q.lock))
    q.lent = 0
    unlock(ref(q.lock))
