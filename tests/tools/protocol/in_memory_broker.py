"""A broker for tests: a bag of messages, which its holder passes to the actors."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import dramatiq
from dramatiq.middleware import Retries, TimeLimit
from flask import g

from tests.tools.protocol.runs import stop


class Message:
    """A message. `owed`: number of deliveries not started, or whose handler died."""

    def __init__(self, message: dramatiq.Message[Any]) -> None:
        self.message, self.owed = message, 1


class InMemoryBroker(dramatiq.Broker):
    """A broker that keeps every message for ever."""

    lenta_namespace = "protocol"

    def __init__(self) -> None:
        super().__init__([TimeLimit(), Retries()])
        self.messages: list[Message] = []

    def declare_queue(self, queue_name: str) -> None:
        self.queues[queue_name] = None

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        stop()  # a round trip, before which a run may die
        self.messages.append(Message(dramatiq.Message.decode(message.encode())))
        return message

    def handle(self, message: dramatiq.Message[Any]) -> None:
        """Call the actor, in the present application context."""
        g.message = message
        self.get_actor(message.actor_name).fn(*message.args, **message.kwargs)


@contextmanager
def actors_in(bag: InMemoryBroker) -> Iterator[ModuleType]:
    """Provide the actors, whose messages go to this bag."""
    before = dramatiq.broker.global_broker
    dramatiq.set_broker(bag)
    try:
        loaded = sys.modules.get("workers.actors")
        actors = importlib.reload(loaded) if loaded else importlib.import_module("workers.actors")
        actors.remove_naming = lambda *_: 0  # this broker has no dead letters
        yield actors
    finally:
        dramatiq.broker.global_broker = before
