"""The SQL for the newest ids of one feed.

It reads the index on (author_id, id) alone. A threshold algorithm (Fagin, Lotem, Naor, 2003): a few ids of each author
yield a lower bound above which there are `limit` ids, and everything above it is read. Use `ABOVE_BOUND` with
`EXACT_BOUND` or `ESTIMATED_BOUND`. Parameters:

user_id, limit   whose feed, and how many ids
before           ids are below this
lower_bound      a lower bound if one is known, else NULL. It spares the probing, most of the query's cost
sample           how many authors to probe for ESTIMATED_BOUND
"""

# Probing a share of `limit` and a quarter more per author gives a lower bound that is tight and cheap to find; with too
# few ids there is none.
_PROBED = """
    SELECT probed.id FROM author CROSS JOIN LATERAL (
        SELECT id FROM posts WHERE author_id = author.id AND id < :before
        ORDER BY id DESC LIMIT (SELECT :limit * 5 / 4 / nullif(count(*), 0) + 1 FROM author)
    ) probed ORDER BY probed.id DESC OFFSET :limit - 1 LIMIT 1
"""
# Each probe reads a whole page of the index. So of many authors every `stride`-th is probed, for half as many ids again
# as its part of `limit`; one author counts for no more than a quarter of them.
_SAMPLED = """
    SELECT probed.id FROM (SELECT id, row_number() OVER () AS place FROM author) placed CROSS JOIN LATERAL (
        SELECT id FROM posts WHERE author_id = placed.id AND id < :before
        ORDER BY id DESC LIMIT (SELECT :limit * 3 / 8 / stride + 1 FROM crowd)
    ) probed WHERE place % (SELECT stride FROM crowd) = 0
    ORDER BY probed.id DESC OFFSET (SELECT :limit * 3 / 2 / stride FROM crowd) LIMIT 1
"""
_AUTHOR = "author AS MATERIALIZED (SELECT followee_id AS id FROM effective_follows WHERE follower_id = :user_id)"

EXACT_BOUND = f"{_AUTHOR}, bound AS MATERIALIZED ({_PROBED})"
ESTIMATED_BOUND = f"""
    {_AUTHOR},
    crowd AS MATERIALIZED (SELECT count(*) / :sample AS stride FROM author),
    bound AS MATERIALIZED (SELECT CASE WHEN stride < 4 THEN ({_PROBED}) ELSE ({_SAMPLED}) END AS id FROM crowd)
"""
ABOVE_BOUND = """
    SELECT newest.id FROM author CROSS JOIN LATERAL (
        SELECT id FROM posts WHERE author_id = author.id AND id < :before
            AND id >= coalesce(CAST(:lower_bound AS bigint), (SELECT id FROM bound), 0)
        ORDER BY id DESC LIMIT :limit
    ) newest ORDER BY newest.id DESC LIMIT :limit
"""
