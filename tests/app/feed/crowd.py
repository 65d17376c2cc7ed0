"""An author whose followers are many or few; what follows from events is carried out by the actors as they are."""

import json
from dataclasses import replace

from flask import Flask

from app.feed import pulling, service
from app.feed.reading import read_page
from app.feed.timeline import Contents, contents_of
from app.posts import outbox
from app.posts import service as posts
from app.redis import client
from tests.protocol.bag import Bag
from tests.world import World


class Crowd:
    """An author and three readers, each of whom follows somebody else too. No event is left."""

    def __init__(self, world: World, bag: Bag) -> None:
        self.world, self.bag = world, bag
        self.author, self.other, *self.readers = world.people(5)
        self.readers.sort()
        self.own: list[int] = []  # what the author wrote
        for reader in self.readers:
            world.follow(reader, self.author, self.other)
        for reader in self.readers:
            service.rebuild(reader)
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
        self.bag.get_actor(event).fn(**payload)
        self.work()

    def work(self) -> None:
        """Carry out all messages."""
        while self.bag.messages:
            message = self.bag.messages.pop(0).message
            self.bag.get_actor(message.actor_name).fn(*message.args, **message.kwargs)

    def settle(self) -> None:
        """Carry out all events, and what follows from them."""
        while events := self.world.events():
            for event, payload in events:
                self.handle(event, **payload)

    def begin_turn(self) -> dict[str, int]:
        """The message of the turn that a post leads to; all other events are carried out."""
        self.post()
        begun = []
        while events := self.world.events():
            for event, payload in events:
                if event == outbox.TURN_BEGUN:
                    begun.append(payload)
                else:
                    self.handle(event, **payload)
        [payload] = begun
        return payload

    def step(self, message: dict[str, int], after: int) -> int | None:
        return pulling.advance(message["author_id"], message["turn"], after)

    def finish_turn(self, message: dict[str, int], after: int = 0) -> None:
        self.handle(outbox.TURN_BEGUN, **message | {"after": after})

    def shown(self, reader: int, limit: int = 100) -> list[int]:
        return [int(json.loads(post)["id"]) for post in read_page(reader, 0, limit).posts]

    def is_exact(self) -> bool:
        return all(self.shown(reader) == self.world.truth(reader) for reader in self.readers)

    @property
    def state(self) -> str | None:
        return pulling.state_of(self.author)


def elements(key: str) -> list[str]:
    """A list as Redis has it."""
    return [element.decode() for element in client().lrange(key, 0, -1)]


def contents(key: str) -> Contents:
    return contents_of([key])[0]


def change_settings(app: Flask, **changes: int) -> None:
    app.extensions["settings"] = replace(app.extensions["settings"], **changes)
