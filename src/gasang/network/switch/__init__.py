"""A learning layer-2 switch in user space, between descriptors that carry frames: cables of virtual machines, taps, veths."""
