"""One process a machine: it holds the VirtualMachine and outlives the daemon and whoever asked for it.

A supervisor (kinds/container/supervisor) owns its streams, which are the guest's console, its log and the record of its end. Of everything
else the process is told over a control socket of its own (`control`). A twin's process is a fork of another's; its supervisor has a
small `stand_in` for it, whose child it could not be.
"""
