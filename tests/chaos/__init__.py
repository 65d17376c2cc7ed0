"""The service under faults: real processes, real servers, clients that write and read, and things that break.

    python -m tests.chaos --ops 50000 --faults 200 --seed 7

| module | does |
|---|---|
| runner | a run: rounds of writing and reading under faults, each followed by quiet and a check of everything |
| service | gunicorn and dramatiq under a supervisor, and their servers behind proxies |
| redis_server | a Redis that can be killed, stopped and set back in time |
| clients | what is written and read over HTTP; `http` sends it |
| model | what may be in SQL, by what was answered |
| faults | what breaks; `schedule` says when |
| quiet | waiting until nothing is under way |
| verify | comparing HTTP and Redis with SQL, and SQL with the model |
| report | the figures |
"""
