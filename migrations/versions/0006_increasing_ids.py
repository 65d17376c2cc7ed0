"""Makes ids increase regardless of the server's clock."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# An id is made of a place and the shard. The place holds milliseconds since 2010-11-04T01:42:54.657Z and, in its lowest
# 12 bits, a number. It is the sum of two sequences: `id_sequence` counts ids, and `id_offset` is raised to follow the
# clock. Neither ever falls, so every id is above the one before: also when the clock is set back, where ids count on
# from the last until the clock has passed it, and after a crash or from a backup, which keep sequences.
#
# The offset is raised when the clock is 100 ms ahead. One session at a time does that; the others wait for nothing, and
# count on. A number counts only with the offset that was there before and after it was taken.
#
# A clock in the last year of the 41 bits, 2079, is not followed: there could be no id after its own.
EPOCH_MS = 1288834974657
LAG = 100 << 12
LAST = (2**41 - 2**35) << 12
LOCK = 0x6C656E7462

NEXT_ID = f"""
CREATE OR REPLACE FUNCTION next_id() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    before bigint;
    place bigint;
    clock bigint;
    raised boolean;
BEGIN
    LOOP
        before := coalesce(pg_sequence_last_value('id_offset'), 0);
        clock := (date_part('epoch', clock_timestamp()) * 1000 - {EPOCH_MS})::bigint << 12;
        place := before + nextval('id_sequence');
        IF place < clock - {LAG} AND clock < {LAST} THEN
            -- In one expression, within which no statement is cancelled: the lock outlives a failed transaction.
            raised := CASE WHEN pg_try_advisory_lock({LOCK}) THEN CASE WHEN
                setval('id_offset', greatest(pg_sequence_last_value('id_offset'), before + clock - place)) > 0
                THEN pg_advisory_unlock({LOCK}) END END;
        END IF;
        EXIT WHEN before = coalesce(pg_sequence_last_value('id_offset'), 0);
    END LOOP;
    RETURN ((place >> 12) << 22) | (0 << 12) | (place & 4095);
END
$$
"""

# A second ahead: until this is committed, ids come from the clock.
FIRST_OFFSET = f"""
SELECT setval('id_offset', greatest(
    (date_part('epoch', clock_timestamp()) * 1000 - {EPOCH_MS} + 1000)::bigint << 12,
    (SELECT ((max(id) >> 22) + 1) << 12 FROM {{table}})
) - coalesce(pg_sequence_last_value('id_sequence'), 0))
"""

BEFORE = """
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


def upgrade(engine_name: str) -> None:
    op.execute("CREATE SEQUENCE id_offset")
    op.execute(FIRST_OFFSET.format(table=engine_name))
    op.execute(NEXT_ID)


def downgrade(engine_name: str) -> None:
    op.execute(BEFORE)
    op.execute("DROP SEQUENCE id_offset")
