"""What passes on a network, written down: frames of its bridge as a pcapng file."""
