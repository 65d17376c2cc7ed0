"""No NOTIFY from sessions that wake the relay themselves.

NOTIFY holds one lock of the whole server until the commit is on the disk, so that commits do not share a flush.
Sessions of the version before do not have the setting: they notify their relays as always, also after going back. The
next version drops the trigger, its function and the setting.
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TRIGGER = """
CREATE OR REPLACE TRIGGER notify_outbox AFTER INSERT ON outbox
FOR EACH STATEMENT {when} EXECUTE FUNCTION notify_outbox()
"""
WHEN = "WHEN (current_setting('lenta.wakes_relay', true) IS DISTINCT FROM 'on')"


def upgrade(engine_name: str) -> None:
    op.execute(TRIGGER.format(when=WHEN))


def downgrade(engine_name: str) -> None:
    op.execute(TRIGGER.format(when=""))
