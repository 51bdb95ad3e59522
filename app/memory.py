"""How much memory this process takes."""

import resource


def resident_bytes() -> int:
    """What of it is in RAM."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
