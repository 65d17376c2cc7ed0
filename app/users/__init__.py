"""Users: profiles, passwords, login."""
