"""Random scenarios, rehearsed on paper and on real servers: every difference is a wrong model or a wrong judge.

    python -m tests.fuzz --seed 7 --count 20

generator    a seed and a number become a scenario, the same on every machine
crossing     shipped scenarios, changed by the schema and by what others of them say
comparison   what was foretold and what was seen of a scenario, question by question and finding by finding
shrinking    a difference is shown by a scenario that is as small as it can be made
known        the differences that have a reason, and need no mending
running      a scenario is rehearsed on paper, on processes that share their clusters, or on kind
"""
