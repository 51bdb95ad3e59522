"""Virtual time for tests; lives in kernel, since flow tests are part of the product."""

from kernel.virtual import Deadlock, VirtualLoop, run

__all__ = ["Deadlock", "VirtualLoop", "run"]
