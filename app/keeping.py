"""How long things are kept, and how large they may grow: `journal`, `recordings`, `disk` and `memory` of the
configuration."""

from typing import Annotated

from pydantic import Field

from kernel.schema import Model

Days = Annotated[float, Field(ge=0, le=36_500)]
"""0: for ever."""


class Journal(Model):
    keep_days: Days = 0.0
    """Events older than this go, once tables, web and control need them no more. Tables keep them."""
    keep_mb: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    """The same for the oldest beyond this size; 0: no limit."""
    segment_mb: Annotated[float, Field(ge=0.01, le=1024)] = 64.0
    """A part (segment) ends when it has this size; what goes are whole parts."""


class Recordings(Model):
    keep_days: Days = 0.0
    """Recordings older than this are removed."""


class Disk(Model):
    low_mb: Annotated[int, Field(ge=0, le=100_000_000)] = 512
    """With less room than this on the disk of journal or recordings, an incident is opened; 0: never."""


Megabytes = Annotated[int, Field(ge=0, le=100_000_000)]
"""0: no limit."""


class Memory(Model):
    """What each process may take of RAM. One that takes more is ended in order and started again; no call ends."""

    control_mb: Megabytes = 4096
    """Far above `sip.overload.memory_mb`, from which on no new calls are let in: so much is a fault."""
    media_mb: Megabytes = 2048
    """Of each; its calls move to another one, or to the one that takes its place."""
    ledger_mb: Megabytes = 1024
    web_mb: Megabytes = 1024
