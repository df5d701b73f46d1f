"""Addresses for who asks on a cable: DHCP for IPv4 and IPv6, and router advertisements. The cores know neither sockets nor time."""
