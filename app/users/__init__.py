"""Users: who somebody is, passwords, tokens."""
