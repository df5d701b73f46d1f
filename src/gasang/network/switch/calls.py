"""The system calls of the switch's compiled code. Results are the kernel's: not negative, or minus the error's number."""

from __future__ import annotations

from gasang.host.syscalls import number


class Call:
    """Numbers of system calls."""

    read = number("read")
    writev = number("writev")
    write = number("write")
    recvfrom = number("recvfrom")
    sendto = number("sendto")
    ppoll = number("ppoll")
    clock_gettime = number("clock_gettime")
