"""How long to wait before the next try of what failed for the moment."""

import random

_FIRST = 1.0
_LONGEST = 20.0
"""No wait is longer, but for one that the authority asks for: the shortest session has a minute from its latest
`renewAt` to its end."""
_LONGEST_WISH = 60.0

_CHANCE = random.SystemRandom()


def backoff(failures: int, wish: float | None = None, *, longest: float = _LONGEST) -> float:
    """Return the seconds to wait after so many failures in a row: doubling, half of it at random."""
    step: float = min(_FIRST * 2.0 ** min(failures - 1, 16), longest)
    return max(step * _CHANCE.uniform(0.5, 1.0), min(wish or 0.0, _LONGEST_WISH))
