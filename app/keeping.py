"""How long things are kept, and when a disk is nearly full: `journal`, `recordings` and `disk` of the configuration."""

from typing import Annotated

from pydantic import Field

from kernel.schema import Model

Days = Annotated[float, Field(ge=0, le=36_500)]
"""0: for ever."""


class Journal(Model):
    keep_days: Days = 0.0
    """Events older than this go, once tables, web and control need them no more. Tables keep them."""
    keep_mb: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    """The same for the oldest beyond this size; 0: no limit. A part (segment) is 64 MB."""


class Recordings(Model):
    keep_days: Days = 0.0
    """Recordings older than this are removed."""


class Disk(Model):
    low_mb: Annotated[int, Field(ge=0, le=100_000_000)] = 512
    """With less room than this on the disk of journal or recordings, an incident is opened; 0: never."""
