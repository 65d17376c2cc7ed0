"""Lenta on one machine with one command: `make run`, `make demo`, `make flask`. No part of the service imports it."""
