"""A PC of ours, its serial line on stdout: python3 -m bench.measures.kvm.ours KERNEL INITRD APPEND MIB."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gasang.accel.kvm.system import Kvm
from gasang.kinds.vm.x86.bzimage import parse_bzimage
from gasang.kinds.vm.x86.machine import PcMachine, PcParts


def main(kernel: Path, initrd: Path, append: str, mebibytes: int) -> None:
    """Run it to its end."""
    image = parse_bzimage(kernel.read_bytes(), kernel.name)
    with Kvm() as kvm:
        made = PcMachine(kvm, PcParts(1, mebibytes << 20, image, initrd.read_bytes(), append, lambda data: _said(data)))
    made.start()
    made.join()
    made.close()


def _said(data: bytes) -> None:
    os.write(1, data)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
