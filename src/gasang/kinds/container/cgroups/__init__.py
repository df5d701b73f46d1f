"""Control groups of all three sorts of hosts: version 1, version 2 (unified), and hybrid, where some controllers are in either."""
