"""Tells the parts of a process that it is about to stop."""

from collections.abc import Callable

_callbacks: list[Callable[[], object]] = []


def on_stop(callback: Callable[[], object]) -> None:
    """Register a function to call when this process accepts no more connections."""
    _callbacks.append(callback)


def stop() -> None:
    """Call all functions."""
    for callback in _callbacks:
        callback()
