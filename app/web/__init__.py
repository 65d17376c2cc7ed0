"""The web client at /: static files that use the public HTTP API."""
