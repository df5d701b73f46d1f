"""A guest's network without any privilege: its frames end here, and what they ask for goes through ordinary sockets of the host."""
