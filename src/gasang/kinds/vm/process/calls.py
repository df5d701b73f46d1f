"""The system calls that a machine's process may make: a list of what is allowed, for seccomp(2). Pure.

It reads and writes files, waits, has memory, threads and unix sockets, and forks for twins. It executes no program, mounts
nothing, looks into no process, sends no signal but one that ends nobody, and has no other sockets. A thread may choose to
be scheduled only while nobody else wants the processor (host/idling.py).
"""

from __future__ import annotations

import signal
import socket
from functools import lru_cache
from typing import Final

from gasang.kinds.container.config.seccomp import Condition, Rule, Seccomp
from gasang.kinds.container.seccomp.compiler import compile_filter
from gasang.kinds.container.seccomp.profile import ABSENT, ALLOW, REFUSE

PLAIN: Final = {
    "opening and naming files": """
        access chdir chmod chown close close_range creat faccessat faccessat2 fchdir fchmod fchmodat fchmodat2 fchown fchownat getcwd lchown
        link linkat mkdir mkdirat mknod mknodat open openat openat2 readlink readlinkat rename renameat renameat2 rmdir symlink symlinkat
        umask unlink unlinkat utime utimensat utimes futimesat name_to_handle_at""",
    "reading and writing": """
        copy_file_range fadvise64 fallocate fdatasync fsync ftruncate lseek pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead
        readv sendfile splice sync_file_range syncfs truncate write writev""",
    "looking at files": """
        fgetxattr flistxattr fremovexattr fsetxattr fstat fstatfs getdents getdents64 getxattr lgetxattr listxattr llistxattr lremovexattr
        lsetxattr lstat newfstatat removexattr setxattr stat statfs statx""",
    "descriptors and waiting": """
        dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 fcntl flock ioctl pipe pipe2
        poll ppoll pselect6 select signalfd4 timerfd_create timerfd_gettime timerfd_settime""",
    "memory": """
        brk madvise membarrier memfd_create mincore mlock mlock2 mmap mprotect mremap msync munlock munmap riscv_flush_icache""",
    "threads, twins and their end": """
        arch_prctl exit exit_group fork futex futex_waitv getcpu getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getpriority
        getresgid getresuid getrlimit getrusage getsid gettid getuid restart_syscall riscv_hwprobe rseq sched_getaffinity sched_getparam
        sched_getscheduler sched_get_priority_max sched_get_priority_min sched_yield set_robust_list set_tid_address setsid sysinfo times
        uname vfork wait4 waitid""",
    "signals, to oneself": """
        pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait sigaltstack""",
    "time and chance": """
        clock_getres clock_gettime clock_nanosleep getitimer getrandom gettimeofday nanosleep setitimer time timer_create timer_delete
        timer_getoverrun timer_gettime timer_settime""",
    "unix sockets": """
        accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg sendto setsockopt
        shutdown socketpair""",
}
"""What is allowed whatever the arguments."""
KICK: Final = signal.SIGURG
"""What interrupts a virtual processor (accel/kvm/vcpu.py), the one signal that may be sent: who has no handler for it passes over it."""
_IDLE: Final = 5
"""SCHED_IDLE: less than what everybody has."""
_NEW_NAMESPACES: Final = 0x7E020080
"""Every CLONE_NEW…"""
_PR_SET_NAME: Final = 15
_PR_SET_MEMORY_MERGE: Final = 67
_PR_SET_VMA: Final = 0x53564D41
_HARMLESS: Final = (_PR_SET_NAME, _PR_SET_MEMORY_MERGE, _PR_SET_VMA)
"""What prctl(2) may be asked for: names of threads and of memory, and advice."""


@lru_cache(maxsize=1)
def allowed() -> Seccomp:
    """The rules."""
    rules = (
        Rule(tuple(sorted({name for group in PLAIN.values() for name in group.split()})), ALLOW),
        Rule(("socket",), ALLOW, (Condition(0, "EQ", socket.AF_UNIX),)),
        Rule(("clone",), ALLOW, (Condition(0, "MASKED_EQ", _NEW_NAMESPACES, 0),)),
        Rule(("clone3",), ABSENT),  # its flags are in memory, where no filter can look: the C library falls back to clone
        Rule(("sched_setscheduler",), ALLOW, (Condition(0, "EQ", 0), Condition(1, "EQ", _IDLE))),
        Rule(("prlimit64",), ALLOW, (Condition(0, "EQ", 0),)),
        *(Rule(("prctl",), ALLOW, (Condition(0, "EQ", value),)) for value in _HARMLESS),
        Rule(("tgkill",), ALLOW, (Condition(2, "EQ", KICK),)),
    )
    return Seccomp(REFUSE, (), 0, rules)


@lru_cache(maxsize=1)
def program(machine: str) -> bytes:
    """The filter for a host of that `uname -m` (struct sock_filter). Raises UnsupportedError where its calls are not known."""
    return compile_filter(allowed(), machine)
