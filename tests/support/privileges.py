"""What a test needs of the host to run at all: skipped by name elsewhere."""

from __future__ import annotations

import os
import sys

import pytest

needs_root = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root on Linux")
