"""Merges a reader's list with the lists of the pulled authors that the reader follows.

A page takes three round trips: the list's mark, which names the authors (timeline.page); a part of each list; bodies.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from app.feed import lua
from app.feed.cache import timeline
from app.feed.cache.timeline import END_MARK, Contents, TimelinePage
from app.feed.rebuild import rebuild, rebuild_author
from app.ids import MAX_ID
from app.settings import settings


@dataclass(frozen=True)
class Part:
    """The newest ids of a list, or those older than a cursor. `truncated`: SQL may have more than the list."""

    ids: list[bytes]
    truncated: bool
    cold: bool


class Missing(NamedTuple):
    """The lists to build before a page can be read: of these authors, and the reader's own."""

    authors: list[int]
    own: bool


def page(
    user_id: int, pulled: list[int], offset: int, limit: int, before: int | None = None, after: int | None = None
) -> tuple[TimelinePage, Missing]:
    """Read a page like `timeline.page`, from a list whose mark names these authors.

    If the page is not `known`, the lists to build first come with it.
    """
    by_cursor = before is not None or after is not None
    number = limit if by_cursor else offset + limit
    keys = [timeline.HOME.key(user_id), *map(timeline.AUTHOR.key, pulled)]
    answers = lua.run(
        "part", [([key], [number, "" if before is None else before, settings().feed_ttl]) for key in keys]
    )
    parts = [_newer(_part(last, elements, number), after) for last, elements in answers]

    ids = newest(parts)[:number]
    is_same = timeline.pulled_authors_from_mark(answers[0][0]) == pulled  # else the list was rebuilt in between
    if is_same and (len(ids) == number or not any(part.truncated for part in parts)):
        known = TimelinePage(ids[number - limit :], [], known=True, cold=False, pulled=pulled)
        return known, Missing([], own=False)
    # SQL serves a page by cursor past the end of a list, so only cold lists are built for it.
    needed = [part.cold if by_cursor else part.truncated for part in parts]
    authors = [author_id for author_id, is_needed in zip(pulled, needed[1:], strict=True) if is_needed]
    cold = any(part.cold for part in parts)
    return TimelinePage([], [], known=False, cold=cold, pulled=pulled), Missing(authors, own=needed[0])


def newest(parts: Sequence[Part]) -> list[bytes]:
    """Merge the ids of all parts, down to the highest end of a truncated one. Newest first, unique.

    A part that is not truncated holds everything newer than the end of the requested page.
    """
    ids = list({post_id for part in parts for post_id in part.ids})
    ids.sort(reverse=True)
    ids.sort(key=len, reverse=True)  # digits compare as text only where there are as many
    ends = [int(part.ids[-1]) if part.ids else MAX_ID for part in parts if part.truncated]
    return [post_id for post_id in ids if int(post_id) >= max(ends)] if ends else ids


def build(user_id: int, missing: Missing) -> bool:
    """Build these lists. Returns False if another process is building one of them."""
    built = [rebuild_author(author_id, attempts=1, steal=False) for author_id in missing.authors]
    return all(built) and (not missing.own or rebuild(user_id, attempts=1, steal=False))


def merge_complete(lists: Iterable[Contents], cap: int) -> list[bytes]:
    """Merge whole lists, cut at `cap`, with END_MARK if the result is complete."""
    parts = []
    for ids in (contents.ids for contents in lists):
        ends = END_MARK in ids[-1:]
        parts.append(Part(ids[:-1] if ends else ids, truncated=not ends, cold=not ids))
    ids = newest(parts)
    return [*ids, END_MARK] if len(ids) <= cap and not any(part.truncated for part in parts) else ids[:cap]


def _newer(part: Part, after: int | None) -> Part:
    """Cut a part at `after`: if it reaches down to there, nothing is missing."""
    if after is None:
        return part
    ids = [post_id for post_id in part.ids if int(post_id) > after]
    return Part(ids, truncated=part.truncated and len(ids) == len(part.ids), cold=part.cold)


def _part(last: bytes, elements: list[bytes], number: int) -> Part:
    ends = bool(elements) and elements[-1].startswith(END_MARK)
    ids = elements[:-1] if ends else elements
    return Part(ids, truncated=len(ids) < number and not (ends and timeline.is_complete(last)), cold=not last)
