"""``python -m gasang`` is ``gasang``."""

import sys

from gasang.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
