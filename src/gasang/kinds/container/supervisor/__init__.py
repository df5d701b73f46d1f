"""The supervisor: one small native process a container, which owns the container's first process (or one exec), its output and its end.

It outlives the daemon. What it is told and tells is in `protocol`; `launch` starts and addresses one from Python; `decode` reads the log
that it writes. The program itself is `main` and what it calls: no Python runs in it, no library is loaded.
"""
