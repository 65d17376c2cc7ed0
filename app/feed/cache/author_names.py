"""Author names beside posts, for `expand=author`."""

import json
from collections.abc import Sequence

from app.users.cached_names import names_as_json


def with_authors(posts: Sequence[bytes]) -> list[bytes]:
    """Add an `author` to each of these posts (JSON)."""
    author_ids = [int(json.loads(post)["author_user_id"]) for post in posts]
    authors = names_as_json(set(author_ids))
    return [b'%b,"author":%b}' % (post[:-1], authors[i]) for post, i in zip(posts, author_ids, strict=True)]
