"""gunicorn's threaded worker, with one hole of its stopping closed.

gunicorn stops accepting when it is told to stop, and keeps its socket until the last answer is given. The kernel goes
on letting clients in meanwhile, up to the backlog; when the socket is closed they are reset, with whatever they have
sent. So a stopping worker takes whom the kernel has let in, and closes its socket at once: who comes later is
refused before anything is sent, and a balancer goes elsewhere. The socket of other workers stays as it is.
"""

from typing import Any

from gunicorn.workers.gthread import ThreadWorker


class Worker(ThreadWorker):  # type: ignore[misc]
    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                self._accept_rest(listener)
                listener.close()

    def _accept_rest(self, listener: Any) -> None:
        taken = -1
        while taken < self.nr_conns < self.worker_connections:
            taken = self.nr_conns
            self.accept(listener)  # counts it, unless nobody is there

    def _cap_keepalive(self, deadline: float) -> None:
        """Connections on which nothing was ever sent are kept no longer than those that wait for another request."""
        super()._cap_keepalive(deadline)
        for connection in self.pending_conns:
            connection.timeout = min(connection.timeout, deadline)
