"""Runs Lenta on one machine: `make run`, `make demo`, `make flask`. The service does not import it."""
