"""Benchmarks of Lenta against a baseline and alternatives.

    python -m benchmarks [--only NAME] [--rounds N] [--json] [--quick]

| module | holds |
|---|---|
| catalog | every benchmark, in the order of the table |
| reading, writing, committing, delivering, storing, rebuilding, pulling, live | the benchmarks, by subject |
| contest, table | rounds, goals and how they are shown |
| stage, processes, load | servers, processes, HTTP load |
| world | what fills the databases and Redis, the same in every run |
| floors, peers, worker, peer_worker | what Lenta is measured against, as real code |

A **floor** does nothing but what cannot be left out. A **peer** does the same work in the way that is usual. Both are
measured in the same run as ours, on the same servers with the same settings, in turns, so that what else the machine
does hits them alike: the ratios are what counts.
"""
