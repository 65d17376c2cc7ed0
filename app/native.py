"""Native threads for work that would block gevent's event loop."""

from collections.abc import Callable
from typing import Any, TypeVar

from gevent import get_hub
from gevent.monkey import is_module_patched
from gevent.threadpool import ThreadPool

T = TypeVar("T")


def thread_pool(size: int) -> ThreadPool | None:
    """Return native threads for one kind of work. None without gevent."""
    return ThreadPool(size) if is_module_patched("threading") else None


def run_natively(work: Callable[[], T], pool: ThreadPool | None = None) -> T:
    """Run `work` in a native thread under gevent, else directly. Raises its exceptions.

    Without a `pool` the thread is one of gevent's, which also look up host names.
    """
    if not is_module_patched("threading"):
        return work()
    threads = get_hub().threadpool if pool is None else pool  # a pool without work is false
    result, error = threads.apply(_attempt, (work,))
    if error:
        raise error
    return result  # type: ignore[no-any-return]


def _attempt(work: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Return an exception instead of raising it.

    gevent prints exceptions of its threads; if printing fails (a full disk), the waiting greenlet is never woken.
    """
    try:
        return work(), None
    except Exception as error:
        return None, error
