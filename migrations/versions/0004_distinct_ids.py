"""Ids that stay distinct when a process is held up while it makes one."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Two ids of one millisecond differ by their numbers, of which there are 4,096. A process that was held up between the
# clock and the sequence, while others took as many, made one that was there already. So a number counts only if it was
# taken within the millisecond that it goes with.
NEXT_ID = """
CREATE OR REPLACE FUNCTION next_id() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    millisecond bigint;
    number bigint;
BEGIN
    LOOP
        millisecond := extract(epoch FROM clock_timestamp()) * 1000;
        number := nextval('id_sequence');
        EXIT WHEN millisecond = (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
    END LOOP;
    RETURN ((millisecond - 1288834974657) << 22) | (0 << 12) | (number & 4095);
END
$$
"""

BEFORE = """
CREATE OR REPLACE FUNCTION next_id() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (((extract(epoch FROM clock_timestamp()) * 1000)::bigint - 1288834974657) << 22)
         | (0 << 12)
         | (nextval('id_sequence') & 4095)
$$
"""


def upgrade(engine_name: str) -> None:
    op.execute(NEXT_ID)


def downgrade(engine_name: str) -> None:
    op.execute(BEFORE)
