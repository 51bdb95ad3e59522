"""The start of control by the code on the disk, as far as that touches nothing outside its process: with the site as it
is, and with what the running control has saved of its calls, in a journal of its own. For app.preflight."""

import random
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from app.past import Past, boot_id
from app.settings import Site
from app.wiring import Control, Inputs
from events.journal import Journal
from kernel.clock import Clock, system_clock
from kernel.ids import system_ids


async def rehearse(site: Site) -> int:
    """Calls in progress that this code could not go on with. Raises whatever a start may raise."""
    clock = system_clock()
    with TemporaryDirectory(prefix="callwright-") as folder:
        journal = Path(folder) / "journal"
        _copy_savings(site.journal, journal, clock)
        inputs = Inputs(
            journal=journal,
            control_socket=Path(folder) / "control.sock",
            media={},
            sip=(),
            version=version("callwright"),
        )
        return Control(site, inputs, clock, system_ids(), random.SystemRandom().random).rehearse()


def _copy_savings(before: Path, after: Path, clock: Clock) -> None:
    """Read while another process writes there."""
    past = Past(before, lambda _key, _state: None, boot_id())
    journal = Journal.open(after, clock, sync_interval=0)
    for key, state in past.savings.items():
        journal.save(key, state)
        journal.commit()
    journal.close()
