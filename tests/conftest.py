"""Settings of all tests: a generated example may take its time on a busy machine; signals do what they do in a user's shell."""

from __future__ import annotations

import signal

from hypothesis import settings

settings.register_profile("gasang", deadline=None)
settings.load_profile("gasang")

# A shell that starts the tests in the background has them ignore these two, and every program they start inherits that.
for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, default)
