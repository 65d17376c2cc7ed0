"""The worker of the benchmarks without the log of live events, for `dramatiq benchmarks.silent_worker`."""

from app.feed.live import log

log.append = lambda *_, **__: None  # type: ignore[assignment]  # every caller finds it in the module
log.IS_KEPT = None  # type: ignore[assignment]

from benchmarks.worker import broker, echo  # noqa: E402

__all__ = ["broker", "echo"]
