"""Capacity planning: `python -m benchmarks.capacity --users 1000000`; see docs/scaling.md.

| module | holds |
|---|---|
| constants | what was measured |
| model | inputs, formulas, results |
| limits | what a single server bears, and what to change when it does not |
| table | how results are shown |
"""
