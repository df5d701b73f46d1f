"""What the operations of a plan do, between clone3 and execve: system calls and the few things that need more than one.

Nothing here allocates, knows Python or calls a library: the same code runs in a copy of the process that asked, in the launcher and in a
container's supervisor. Results are those of the kernel: a value, or an error number below zero.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from gasang.host.mounts import AT_FDCWD
from gasang.host.processes import PR_CAPBSET_DROP
from gasang.host.syscalls import native_table
from gasang.kinds.container.home import find_home
from gasang.kinds.container.hook import run_hook
from gasang.kinds.container.layout import (
    BOUNDING,
    EXECUTE,
    FAILED,
    FIND,
    HOME,
    HOOK,
    OFFSET,
    PROC,
    REPORT,
    SIGNALS,
    SLOT,
    STORE,
    SYSCALL,
    TARGET,
    WAIT,
    WRITE,
    Event,
    Header,
    Operation,
)
from gasang.kinds.container.target import open_target
from gasang.native import cast, i32, i64, native, ptr, ref, syscall, u8, u32, u64

_NR: Final = native_table()
NR_OPENAT: Final = _NR["openat"]
NR_CLOSE: Final = _NR["close"]
NR_READ: Final = _NR["read"]
NR_WRITE: Final = _NR["write"]
NR_PRCTL: Final = _NR["prctl"]
NR_FACCESSAT2: Final = _NR["faccessat2"]
NR_EXECVE: Final = _NR["execve"]
NR_SIGACTION: Final = _NR["rt_sigaction"]
NR_SIGPROCMASK: Final = _NR["rt_sigprocmask"]
CWD: Final = AT_FDCWD & (1 << 64) - 1
EINTR: Final = -errno.EINTR
EINVAL: Final = -errno.EINVAL
EACCES: Final = -errno.EACCES
ENOENT: Final = -errno.ENOENT
ENOTDIR: Final = -errno.ENOTDIR
EPIPE: Final = -errno.EPIPE
ENOSYS: Final = -errno.ENOSYS
LOOK_AT_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
CLOSE_ON_EXEC: Final = os.O_CLOEXEC
WRITE_ONLY: Final = os.O_WRONLY
X_OK: Final = os.X_OK
AT_EACCESS: Final = 0x200
LAST_SIGNAL: Final = 64
SIG_SETMASK: Final = 2
MOST_CAPABILITIES: Final = 64


@native
def write_all(descriptor: u64, data: u64, length: u64) -> i64:
    """Write everything."""
    done: u64 = 0
    while done < length:
        result = syscall(NR_WRITE, descriptor, data + done, length - done)
        if result == EINTR:
            continue
        if result < 0:
            return result
        done += u64(result)
    return 0


@native
def read_some(descriptor: u64, data: u64, capacity: u64) -> i64:
    """Read at least a byte; the end of the file is an error, for whoever was to write is gone."""
    while True:
        result = syscall(NR_READ, descriptor, data, capacity)
        if result == 0:
            return EPIPE
        if result != EINTR:
            return result
    return EPIPE


@native
def write_file(folder: u64, path: u64, flags: u64, data: u64, length: u64) -> i64:
    """Write to an existing file in one call, as files of the kernel want it."""
    descriptor = syscall(NR_OPENAT, folder, path, flags | CLOSE_ON_EXEC, 0)
    if descriptor < 0:
        return descriptor
    result = syscall(NR_WRITE, u64(descriptor), data, length)
    syscall(NR_CLOSE, u64(descriptor))
    return result


@native
def drop_bounding(kept: u64) -> i64:
    """Drop every capability the kernel knows and the mask does not have."""
    for capability in range(u64(MOST_CAPABILITIES)):
        if (kept >> capability) & 1 == 0:
            result = syscall(NR_PRCTL, PR_CAPBSET_DROP, capability, 0, 0, 0)
            if result == EINVAL:
                return 0
            if result < 0:
                return result
    return 0


@native
def find_program(base: u64, candidates: u64) -> i64:
    """The address of the first path that names a file we may execute; else EACCES if one was there, or ENOENT."""
    offsets = cast(ptr[u64], candidates)
    missing: i64 = ENOENT
    index: u64 = 0
    while offsets[index] != 0:
        path = base + offsets[index] - 1
        result = syscall(NR_FACCESSAT2, CWD, path, X_OK, AT_EACCESS)
        if result == ENOSYS:
            return i64(path)
        if result == 0:
            folder = syscall(NR_OPENAT, CWD, path, LOOK_AT_FOLDER, 0)
            if folder < 0:
                return i64(path)
            syscall(NR_CLOSE, u64(folder))
            result = EACCES
        if result != ENOENT and result != ENOTDIR:
            missing = result
        index += 1
    return missing


@native
def reset_signals(zeroes: u64) -> i64:
    """Every signal to its default: execve keeps those that are ignored, and Python ignores some."""
    signal: u64 = 1
    while signal <= LAST_SIGNAL:
        syscall(NR_SIGACTION, signal, zeroes, 0, 8)  # SIGKILL and SIGSTOP refuse, and need none
        signal += 1
    return syscall(NR_SIGPROCMASK, SIG_SETMASK, zeroes, 0, 8)


@native
def tell(status: i32, event: ptr[Event], kind: u32, which: u32, index: u32, error: i32, value: u64) -> i64:
    """Put an event into the status pipe."""
    event.event = kind
    event.list = which
    event.index = index
    event.error = error
    event.value = value
    return write_all(u64(status), u64(event), 24)


@native
def write_of_process(pid: u64, name: ptr[u8], data: u64, length: u64, scratch: ptr[u8]) -> i64:
    """Write to a file of a process in /proc."""
    digits = scratch + 64
    count: u64 = 0
    while True:
        digits[count] = u8(48 + pid % 10)
        count += 1
        pid = pid // 10
        if pid == 0:
            break
    cast(ptr[u64], scratch)[0] = 0x2F636F72702F  # "/proc/"
    at: u64 = 6
    while count > 0:
        count -= 1
        scratch[at] = digits[count]
        at += 1
    index: u64 = 0
    while name[index] != 0:
        scratch[at] = name[index]
        at += 1
        index += 1
    scratch[at] = 0
    return write_file(CWD, u64(scratch), WRITE_ONLY, data, length)


@native
def perform(plan: ptr[u8], operation: ptr[Operation], a: ptr[u64]) -> i64:
    """Do one operation whose arguments are in `a`."""
    header = cast(ptr[Header], plan)
    code = operation.code
    scratch = plan + u64(header.scratch.offset)
    if code == SYSCALL:
        return syscall(u64(operation.number), a[0], a[1], a[2], a[3], a[4], a[5])
    if code == WRITE:
        return write_file(a[0], a[1], a[2], a[3], a[4])
    if code == TARGET:
        return open_target(a[0], cast(ptr[u8], a[1]), a[2], a[3], scratch)
    if code == STORE:
        cast(ptr[i32], a[1])[0] = i32(a[0])
        return 0
    if code == REPORT:
        return tell(header.status, cast(ptr[Event], ref(header.cells[8])), u32(a[0]), 1, 0, 0, a[1])
    if code == WAIT:
        return read_some(a[0], a[1], a[2])
    if code == BOUNDING:
        return drop_bounding(a[0])
    if code == FIND:
        return find_program(u64(plan) + u64(header.data.offset), a[0])
    if code == EXECUTE:
        return syscall(NR_EXECVE, a[0], a[1], a[2])
    if code == HOOK:
        return run_hook(a, scratch)
    if code == PROC:
        return write_of_process(a[0], cast(ptr[u8], a[1]), a[2], a[3], scratch)
    if code == HOME:
        return find_home(a[0], a[1], cast(ptr[u8], a[2]), scratch, u64(header.scratch.count))
    if code == SIGNALS:
        return reset_signals(a[0])
    return EINVAL


@native
def ignored(operation: ptr[Operation], error: i64) -> u64:
    """1 if an error does not matter."""
    for index in range(u64(2)):
        wanted = i64(operation.ignore[index])
        if wanted == -1 or (wanted != 0 and wanted == -error):
            return 1
    return 0


@native
def run_list(plan: ptr[u8], which: u64, failed: ptr[u32]) -> i64:
    """Do the operations of a list; at the first that fails, say which at `failed` and give the error."""
    header = cast(ptr[Header], plan)
    operations = cast(ptr[Operation], plan + u64(header.lists[which].offset))
    slots = cast(ptr[u64], plan + u64(header.slots.offset))
    data = u64(plan) + u64(header.data.offset)
    arguments = ref(header.arguments[0])
    count = header.lists[which].count
    index: u32 = 0
    while index < count:
        operation = operations + index
        for place in range(u64(6)):
            word = operation.args[place]
            kind = (operation.kinds >> u32(place * 4)) & 15
            if kind == OFFSET:
                word = data + word
            elif kind == SLOT:
                word = slots[word]
            arguments[place] = word
        result = perform(plan, operation, arguments)
        index += 1
        if result < 0 and result > -4096:
            if ignored(operation, result) == 0:
                failed[0] = index - 1
                return result
            index += operation.skip_ignored
        else:
            if operation.result >= 0:
                slots[u64(operation.result)] = u64(result)
            index += operation.skip_done
    return 0


@native
def fail(plan: ptr[u8], which: u32, index: u32, error: i64) -> i64:
    """Say what failed, in the status pipe."""
    header = cast(ptr[Header], plan)
    return tell(header.status, cast(ptr[Event], ref(header.cells[8])), FAILED, which, index, i32(-error), 0)
