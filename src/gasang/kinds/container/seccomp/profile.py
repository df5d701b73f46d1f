"""The default rules: what every container may do, what only one with a certain capability may, what none may.

They allow and refuse what Docker's default profile does, so that an image behaves here as it does there. What is in no group is refused
with EPERM: loading kernels and modules, swap, the kernel's keyrings, userfaultfd, io_uring, and all that nobody uses any more.
"""

from __future__ import annotations

import errno
from functools import lru_cache
from typing import Final

from gasang.host.processes import CAPABILITIES
from gasang.kinds.container.config.seccomp import ACTIONS, Condition, Rule, Seccomp

ALLOW: Final = ACTIONS["SCMP_ACT_ALLOW"]
REFUSE: Final = ACTIONS["SCMP_ACT_ERRNO"] | errno.EPERM
ABSENT: Final = ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS

GROUPS: Final = {
    "opening and naming files": """
        access chdir chmod close close_range creat faccessat faccessat2 fchdir fchmod fchmodat fchmodat2 getcwd link linkat mkdir mkdirat
        mknod mknodat name_to_handle_at open openat openat2 readlink readlinkat rename renameat renameat2 rmdir symlink symlinkat umask
        unlink unlinkat chown chown32 fchown fchown32 fchownat lchown lchown32 utime utimensat utimensat_time64 utimes futimesat""",
    "reading and writing": """
        copy_file_range _llseek lseek pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readv sendfile sendfile64 splice tee
        truncate truncate64 ftruncate ftruncate64 vmsplice write writev fadvise64 fadvise64_64 fallocate fdatasync fsync sync
        sync_file_range syncfs cachestat io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit""",
    "looking at files": """
        fstat fstat64 fstatat64 fstatfs fstatfs64 getdents getdents64 lstat lstat64 newfstatat stat stat64 statfs statfs64 statx listmount
        statmount file_getattr file_setattr fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat
        llistxattr lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat""",
    "descriptors and waiting": """
        dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
        eventfd2 fanotify_mark fcntl fcntl64 flock inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl _newselect pipe pipe2
        poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4""",
    "memory": """
        brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap mseal
        msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages""",
    "processes": """
        arch_prctl execve execveat exit exit_group fork get_robust_list get_thread_area getcpu getpgid getpgrp getpid getppid getpriority
        getrlimit getrusage getsid gettid ioprio_get ioprio_set kill modify_ldt pidfd_open pidfd_send_signal prctl prlimit64
        restart_syscall rseq sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
        sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield
        set_robust_list set_thread_area set_tid_address setpgid setpriority setrlimit setsid sysinfo tgkill times tkill ugetrlimit uname
        uretprobe vfork wait4 waitid waitpid process_vm_readv process_vm_writev ptrace riscv_flush_icache riscv_hwprobe""",
    "who a process is, and what it may": """
        capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid getresuid32
        getuid getuid32 landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp setfsgid setfsgid32 setfsuid setfsuid32
        setgid setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid
        setuid32""",
    "signals": """
        pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
        rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn""",
    "time": """
        adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
        clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete timer_getoverrun timer_gettime
        timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
        timerfd_settime64""",
    "talking to others": """
        accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64 recvmsg send sendmmsg
        sendmsg sendto setsockopt shutdown socketcall socketpair futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake ipc
        mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget
        msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget getrandom""",
}
"""What every container may do."""

WITH_CAPABILITY: Final = {
    "SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules lsm_set_self_attr
        mount mount_setattr move_mount open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog
        umount umount2 unshare""",
    "BPF": "bpf",
    "DAC_READ_SEARCH": "open_by_handle_at",
    "PERFMON": "perf_event_open",
    "SYS_BOOT": "reboot",
    "SYS_CHROOT": "chroot",
    "SYS_MODULE": "delete_module finit_module init_module",
    "SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "SYS_PACCT": "acct",
    "SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    "SYS_RAWIO": "ioperm iopl",
    "SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "SYS_TTY_CONFIG": "vhangup",
    "SYSLOG": "syslog",
}
"""What only a container with that capability may do."""

_NEW_NAMESPACES: Final = 0x7E020000  # every CLONE_NEW… but time
_AF_VSOCK: Final = 40  # leads past network namespaces, to the hypervisor
_PERSONALITIES: Final = (0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)


@lru_cache(maxsize=16)
def default_profile(capabilities: int, machine: str) -> Seccomp:
    """The rules for a container with this bounding set, on a host of that `uname -m`."""
    names = [name for group in GROUPS.values() for name in group.split()]
    has_admin = False
    for capability, group in WITH_CAPABILITY.items():
        if capabilities >> CAPABILITIES.index(capability) & 1:
            names += group.split()
            has_admin = has_admin or capability == "SYS_ADMIN"
    rules = [
        Rule(tuple(sorted(set(names))), ALLOW),
        Rule(("socket",), ALLOW, (Condition(0, "NE", _AF_VSOCK),)),
        *(Rule(("personality",), ALLOW, (Condition(0, "EQ", value),)) for value in _PERSONALITIES),
    ]
    if not has_admin:
        rules.append(Rule(("clone",), ALLOW, (Condition(0, "MASKED_EQ", _NEW_NAMESPACES, 0),)))
        rules.append(Rule(("clone3",), ABSENT))  # its flags are in memory, where no filter can look: programs fall back to clone
    others = ("x86", "x32") if machine == "x86_64" else ()
    return Seccomp(REFUSE, (machine, *others), 0, tuple(rules))
