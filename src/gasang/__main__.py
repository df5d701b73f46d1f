"""``python -m gasang`` is ``gasang``."""

import sys

from gasang.cli.process import command

if __name__ == "__main__":
    sys.exit(command())
