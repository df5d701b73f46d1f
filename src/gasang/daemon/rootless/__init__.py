"""A daemon of a user who is not root: namespaces of the user's own, in which it is."""
