"""TCP towards the guest (RFC 9293), without sockets and without a clock of its own."""
