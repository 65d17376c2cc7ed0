"""An author with a variable number of followers; events are handled by the real actors."""

from dataclasses import replace

from flask import Flask

from app.feed.cache.timeline import Contents, load_many
from app.feed.hybrid import policy
from app.feed.read import read_page
from app.feed.rebuild import rebuild
from app.posts import outbox
from app.posts import service as posts
from app.redis.client import client
from tests.factories import Factory, ids_of
from tests.tools.protocol.in_memory_broker import InMemoryBroker


class Celebrity:
    """An author with three readers that also follow another author. No event is left."""

    def __init__(self, world: Factory, bag: InMemoryBroker) -> None:
        self.world, self.bag = world, bag
        self.author, self.other, *self.readers = world.people(5)
        self.readers.sort()
        self.own: list[int] = []  # the author's posts
        for reader in self.readers:
            world.follow(reader, self.author, self.other)
        for reader in self.readers:
            rebuild(reader)
        world.events()

    def post(self, author: int | None = None) -> int:
        post_id = self.world.post(author or self.author)
        if not author or author == self.author:
            self.own.append(post_id)
        return post_id

    def leave(self, *readers: int) -> None:
        for reader in readers:
            posts.unfollow(reader, self.author)

    def handle(self, event: str, **payload: int) -> None:
        """Carry out an event, and the messages that it leads to."""
        self.bag.handle(self.bag.get_actor(event).message(**payload))
        self.work()

    def work(self) -> None:
        """Carry out all messages."""
        while self.bag.messages:
            self.bag.handle(self.bag.messages.pop(0).message)

    def settle(self) -> None:
        """Handle all events and the messages they cause."""
        while events := self.world.events():
            for event, payload in events:
                self.handle(event, **payload)

    def start_transition(self) -> dict[str, int]:
        """Return the transition message that a post leads to, after handling all other events."""
        self.post()
        begun = []
        while events := self.world.events():
            for event, payload in events:
                if event == outbox.PULL_TRANSITION_STARTED:
                    begun.append(payload)
                else:
                    self.handle(event, **payload)
        [payload] = begun
        return payload

    def step(self, message: dict[str, int], after: int) -> int | None:
        return policy.run_transition_step(message["author_id"], message["transition_id"], after)

    def finish_transition(self, message: dict[str, int], after: int = 0) -> None:
        self.handle(outbox.PULL_TRANSITION_STARTED, **message | {"after": after})

    def shown(self, reader: int, limit: int = 100) -> list[int]:
        return ids_of(read_page(reader, 0, limit))

    def is_exact(self) -> bool:
        return all(self.shown(reader) == self.world.truth(reader) for reader in self.readers)

    @property
    def state(self) -> str | None:
        return policy.state_of(self.author)


def elements(key: str) -> list[str]:
    """A list as Redis has it."""
    return [element.decode() for element in client().lrange(key, 0, -1)]


def contents(key: str) -> Contents:
    return load_many([key])[0]


def change_settings(app: Flask, **changes: int) -> None:
    app.extensions["settings"] = replace(app.extensions["settings"], **changes)
