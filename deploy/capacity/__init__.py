"""How much of what Lenta needs at a size: `python -m deploy.capacity --users 1000000`. docs/scaling.md explains it.

| module | holds |
|---|---|
| constants | what was measured |
| model | inputs, formulas, results |
| limits | what a single server bears, and what to change when it does not |
| table | how results are shown |
"""
