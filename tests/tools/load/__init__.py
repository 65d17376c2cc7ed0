"""Readers and writers on a real social graph, watched by a real Prometheus: `make load MINUTES=10`."""
