"""Commands at the shell that sits at a machine's serial console, for guests without an agent. See docs/reference/machines.md."""
