"""Inside the machine: the serial line on which its program reports, a JSON object a line."""

from __future__ import annotations

import json
import os
import tty
from pathlib import Path
from threading import Lock
from typing import Final

DEVICE: Final = Path("/dev/ttyS1")


class Line:
    """The line, raw."""

    def __init__(self, device: Path = DEVICE) -> None:
        self._descriptor = os.open(device, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
        tty.setraw(self._descriptor)
        self._lock = Lock()

    def tell(self, **facts: object) -> None:
        """Say one thing; from any thread."""
        data = json.dumps(facts).encode() + b"\n"
        with self._lock:
            while data:
                data = data[os.write(self._descriptor, data) :]
