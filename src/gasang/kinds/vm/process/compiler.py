"""The compiler of a machine in the background: started before the machine goes to its jail, and in a jail of its own.

What a guest that has taken over its machine's process finds there is no more than it has: the same few system calls, no network, and of the
host's files those that the program itself is made of, to be read.

The machine's process may send no signal. A pipe is what it holds the compiler by: when its end of that is closed, the kernel ends the
compiler (SIGIO for a descriptor with O_ASYNC, fcntl(2), whose default is to end the process).
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from gasang.accel.soft.jit.service import Worker, let_go
from gasang.host.limits import yield_processor
from gasang.kinds.vm.process import jail
from gasang.kinds.vm.process.reach import program_places
from gasang.kinds.vm.process.settings import REQUIRED


class JailedCompiler(Worker):
    """The compiler's process. `kill` needs no right to send signals."""

    def __init__(self, folder: Path, *, demands_jail: bool) -> None:
        theirs, self._leash = os.pipe2(os.O_CLOEXEC)
        words = [sys.executable, "-P", "-m", __name__, str(folder), str(theirs), REQUIRED if demands_jail else ""]
        try:
            super().__init__(words, (theirs,))
        except BaseException:
            os.close(self._leash)
            raise
        finally:
            os.close(theirs)

    def kill(self) -> None:
        """End it; one that is not ready to be ended finds no more requests."""
        assert self.stdin is not None
        if not self.stdin.closed:
            let_go(self.stdin.fileno())
        let_go(self._leash)

    def forget(self) -> None:
        """In a forked process: it is the parent's."""
        super().forget()
        let_go(self._leash)


def main(folder: str, leash: str, demand: str) -> int:
    """The program: answer requests until the machine is gone. It does not begin where a jail is demanded and does not hold."""
    from gasang.accel.soft.jit import worker
    from gasang.cpus.riscv64.region import code  # noqa: F401 - with LLVM, before the jail

    yield_processor()
    descriptor = int(leash)
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_ASYNC)
    lacking = jail.enter(program_places(), Path(folder), serves_folders=False)
    if demand == REQUIRED and lacking:
        return 1
    worker.main()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
