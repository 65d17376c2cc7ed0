"""Fault injection: real processes and servers, clients that write and read, and faults.

    python -m tests.tools.chaos --ops 50000 --faults 200 --seed 7
    python -m tests.tools.chaos --topology cluster --ops 100000 --faults 300 --resume cluster.json

| module | does |
|---|---|
| runner | a run: rounds of writing and reading under faults, each followed by quiet and a check of everything |
| service | gunicorn and dramatiq under a supervisor, and their servers behind proxies |
| clients | what is written and read over HTTP; `http` sends it |
| operators | users that are suspended and restored |
| live | clients of live events, connected throughout |
| model | what may be in SQL, by what was answered; `certainty` of one thing, also after a failover of PostgreSQL |
| faults | what breaks; `schedule` says when, `scene` where |
| pressure | faults that only press |
| partitions | faults of a Redis on hosts |
| pair | faults of a PostgreSQL primary and its standby on hosts |
| quiescence | waiting until nothing is under way |
| verify | comparing HTTP and Redis with SQL, and SQL with the model |
| losses | what failovers of PostgreSQL lost, and for how long it was shown |
| report | the figures |

The topology `single` has one PostgreSQL behind a proxy. The others have a primary and a standby on separate hosts,
and the service looks for the primary. A failover may lose what was acknowledged since the standby had everything, and
nothing else.
"""
