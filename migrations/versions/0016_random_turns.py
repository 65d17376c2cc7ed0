"""Ids of transitions that no restore makes again: a sequence goes back with its database, messages do not."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade(engine_name: str) -> None:
    if engine_name == "posts":
        op.execute("""
            ALTER TABLE pulled_authors ALTER turn DROP IDENTITY,
                ALTER turn SET DEFAULT CAST(random() * 9007199254740991 AS bigint)
        """)


def downgrade(engine_name: str) -> None:
    if engine_name == "posts":
        op.execute("ALTER TABLE pulled_authors ALTER turn DROP DEFAULT, ALTER turn ADD GENERATED ALWAYS AS IDENTITY")
