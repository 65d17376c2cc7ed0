"""The feed of a reader who follows pulled authors: merged from the reader's own list and the lists of these authors.

A page takes three round trips: the list's mark, which names the authors (timeline.page); a part of each list; bodies.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from app.feed import authored, bodies, scripts, service, timeline
from app.feed.timeline import END, Contents, Slice
from app.feed.truth import END_OF_TIME
from app.settings import settings


@dataclass(frozen=True)
class Part:
    """The newest ids of a list, or those before one. `short`: they end before what was asked for, SQL may have more."""

    ids: list[bytes]
    short: bool
    cold: bool


@dataclass(frozen=True)
class Merged(Slice):
    """A page; where it is not `known`, which lists must be built first: of these authors, and the reader's own."""

    authors_to_build: list[int] = field(default_factory=list)
    own_to_build: bool = False


def page(user_id: int, pulled: list[int], offset: int, limit: int, before: int | None = None) -> Merged:
    """As `timeline.page`, of a list that names these authors."""
    number = limit if before is not None else offset + limit
    keys = [timeline.feed_key(user_id), *map(authored.key, pulled)]
    answers = scripts.run(
        "part", [([key], [number, "" if before is None else before, settings().feed_ttl]) for key in keys]
    )
    parts = [_part(last, elements, number) for last, elements in answers]

    ids = newest(parts)[:number]
    is_same = timeline.pulled_in(answers[0][0]) == pulled  # or the list was built anew meanwhile
    if is_same and (len(ids) == number or not any(part.short for part in parts)):
        ids = ids[number - limit :]
        return Merged(ids, bodies.cached(ids), known=True, cold=False, pulled=pulled)
    # Beyond the end of a list that is there SQL answers a page by cursor.
    needed = [part.cold if before is not None else part.short for part in parts]
    authors = [author_id for author_id, is_needed in zip(pulled, needed[1:], strict=True) if is_needed]
    cold = any(part.cold for part in parts)
    return Merged([], [], known=False, cold=cold, pulled=pulled, authors_to_build=authors, own_to_build=needed[0])


def newest(parts: Sequence[Part]) -> list[bytes]:
    """The ids of all parts, newest first, each once: down to where the first short one ends.

    What a part does not show, and is not short, is older than all that was asked for.
    """
    ids = list({post_id for part in parts for post_id in part.ids})
    ids.sort(reverse=True)
    ids.sort(key=len, reverse=True)  # digits compare as text only where there are as many
    floors = [int(part.ids[-1]) if part.ids else END_OF_TIME for part in parts if part.short]
    if not floors:
        return ids
    floor = max(floors)
    return [post_id for post_id in ids if int(post_id) >= floor]


def build(user_id: int, page_: Merged) -> bool:
    """Build the lists that a page needs. Returns False where somebody else is building one of them."""
    built = [authored.rebuild(author_id, attempts=1, wait=True) for author_id in page_.authors_to_build]
    return all(built) and (not page_.own_to_build or service.rebuild(user_id, attempts=1, wait=True))


def whole(lists: Iterable[Contents], cap: int) -> list[bytes]:
    """All that these lists know together, and END behind it where that is all there is; cut at the cap."""
    parts = [_whole_part(contents.ids) for contents in lists]
    ids = newest(parts)
    return [*ids, END] if len(ids) <= cap and not any(part.short for part in parts) else ids[:cap]


def _whole_part(ids: list[bytes]) -> Part:
    ends = END in ids[-1:]
    return Part(ids[:-1] if ends else ids, short=not ends, cold=not ids)


def _part(last: bytes, elements: list[bytes], number: int) -> Part:
    ends = bool(elements) and elements[-1].startswith(END)
    ids = elements[:-1] if ends else elements
    return Part(ids, short=len(ids) < number and not (ends and timeline.is_complete(last)), cold=not last)
