"""Tells the parts of a process that it is about to stop."""

from collections.abc import Callable
from weakref import WeakMethod

_callbacks: list[WeakMethod[Callable[[], object]]] = []


def on_stop(method: Callable[[], object]) -> None:
    """Register a method to call when this process accepts no more connections. Its object may go before."""
    _callbacks[:] = [callback for callback in _callbacks if callback()]
    _callbacks.append(WeakMethod(method))


def stop() -> None:
    """Call all methods."""
    for callback in _callbacks:
        if method := callback():
            method()
