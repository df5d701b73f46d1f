"""A small HTTP/1.1 server over stream sockets (RFC 9112), on h11, with connections that can be taken over."""
