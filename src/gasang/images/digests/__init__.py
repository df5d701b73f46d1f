"""SHA-256 of several streams at once."""
