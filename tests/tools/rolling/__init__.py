"""A rolling restart under load, unnoticed by clients.

    python -m tests.tools.rolling --seconds 60

| module | does |
|---|---|
| runner | clients read and write while all is restarted, one after the other; then what was accepted is looked for |
| fleet | two gunicorns behind a balancer, and two workers; how each is restarted |
| live | clients of live events, which are sent to another process and must miss nothing |
| clients | requests on connections that are kept alive and on fresh ones, never tried twice |

PostgreSQL, RabbitMQ, Redis and HTTP are those of tests/tools/chaos.
"""
