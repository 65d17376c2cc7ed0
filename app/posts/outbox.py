"""The outbox of the posts database. Its events are handled by the actors of the same names."""

from app.db.engine import POSTS
from app.db.outbox import Outbox
from app.db.wakeup import Wakeup

POST_CREATED = "post_created"
POST_EDITED = "post_edited"
POST_DELETED = "post_deleted"
FOLLOWS_CHANGED = "follows_changed"
POSTS_ERASED = "posts_erased"
VISIBILITY_CHANGED = "visibility_changed"
WARM_REQUESTED = "warm_requested"
PULL_TRANSITION_STARTED = "pull_transition_started"
TURN_BEGUN = "turn_begun"  # its name in the previous version
EVENTS = (
    POST_CREATED,
    POST_EDITED,
    POST_DELETED,
    FOLLOWS_CHANGED,
    POSTS_ERASED,
    VISIBILITY_CHANGED,
    WARM_REQUESTED,
    PULL_TRANSITION_STARTED,
    TURN_BEGUN,
)

OUTBOX = Outbox(POSTS, EVENTS, Wakeup(POSTS))
add, add_all = OUTBOX.add, OUTBOX.add_all
lock_batch, delete = OUTBOX.lock_batch, OUTBOX.delete
oldest_age, oldest_age_within, size = OUTBOX.oldest_age, OUTBOX.oldest_age_within, OUTBOX.size
