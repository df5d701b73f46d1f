"""Containers' networks: what is asked of them, who is in which, what containers and clients are told of them."""
