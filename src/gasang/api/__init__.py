"""HTTP doors to gasang: a server whose sockets can be taken over, and the APIs spoken through it."""
