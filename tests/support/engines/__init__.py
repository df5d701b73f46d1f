"""Container engines that tests and benchmarks drive from outside: ours and Debian's dockerd, a client, a registry, small images."""
