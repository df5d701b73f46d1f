"""``python -m gasang.kinds.vm.process``: what a supervisor starts."""

from __future__ import annotations

import sys

from gasang.kinds.vm.process.machine import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
