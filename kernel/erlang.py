"""Traffic on a group of lines without a queue: Erlang B (calls that find all lines busy are lost)."""

MOST_LINES = 100_000


def blocking(erlangs: float, lines: int) -> float:
    """Probability that a call finds all lines busy, for Poisson arrivals and any distribution of holding times.

    erlangs: offered traffic, calls per second times mean seconds. Exact recursion B(n) = A·B(n−1) / (n + A·B(n−1)),
    stable for any size. Cost: O(lines)."""
    lost = 1.0
    for n in range(1, lines + 1):
        lost = erlangs * lost / (n + erlangs * lost)
    return lost if erlangs > 0 else float(lines == 0)


def lines_for(erlangs: float, share: float) -> int:
    """The fewest lines with which no more than `share` of the calls is lost; 0 lines for no traffic.

    Raises ValueError unless 0 < share < 1, or when even MOST_LINES are too few."""
    if not 0 < share < 1:
        raise ValueError(f"blocking is a share of calls between 0 and 1, not {share:g}")
    if erlangs <= 0:
        return 0
    lost = 1.0
    for n in range(1, MOST_LINES + 1):
        lost = erlangs * lost / (n + erlangs * lost)
        if lost <= share:
            return n
    raise ValueError(f"{erlangs:g} erlangs need more than {MOST_LINES} lines")
