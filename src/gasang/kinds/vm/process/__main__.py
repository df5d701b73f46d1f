"""``python -m gasang.kinds.vm.process``: what a supervisor starts."""

from __future__ import annotations

import sys

from gasang.kinds.vm.process.entries import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
