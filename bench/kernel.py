"""The kernel that is booted: Debian's stock riscv64 one, which the user's image of Debian has, or which is fetched once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gasang.cli.progress import Reporter, view_for
from support import stock_kernel as stock


def stock_kernel() -> Path:
    """The path of the kernel Image; raises GasangError."""
    reporter = Reporter(view_for("auto", sys.stderr))
    try:
        return stock.stock_kernel(os.environ, reporter)
    finally:
        reporter.close()
