"""A broker made for tests: a bag of messages, which whoever holds it hands to the actors."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import dramatiq
from dramatiq.middleware import Retries, TimeLimit


class Message:
    """`owed`: how many deliveries of it nobody has begun, or whose handler died."""

    def __init__(self, message: dramatiq.Message[Any]) -> None:
        self.message, self.owed = message, 1


class Bag(dramatiq.Broker):
    """A broker that keeps every message for ever."""

    lenta_namespace = "protocol"

    def __init__(self) -> None:
        super().__init__([TimeLimit(), Retries()])
        self.messages: list[Message] = []

    def declare_queue(self, queue_name: str) -> None:
        self.queues[queue_name] = None

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        self.messages.append(Message(dramatiq.Message.decode(message.encode())))
        return message


@contextmanager
def actors_in(bag: Bag) -> Iterator[ModuleType]:
    """The actors, whose messages go into this bag."""
    before = dramatiq.broker.global_broker
    dramatiq.set_broker(bag)
    try:
        if "workers.actors" in sys.modules:
            yield importlib.reload(sys.modules["workers.actors"])
        else:
            yield importlib.import_module("workers.actors")
    finally:
        dramatiq.broker.global_broker = before
