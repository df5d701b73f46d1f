"""Disks over the network: the NBD protocol, as a server and as a client."""
