"""Names for machines: a DNS server in each machine's own network namespace."""
