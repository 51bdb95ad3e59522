"""A hotline's own copy of the code, which an upgrade that fails can be made of."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.peers.remote import ROOT

COPIED = ("app", "engine")
LINKED = ("acd", "events", "ivr", "kernel", "metrics", "web", "config", "ivr_flows")


def own_code(folder: Path) -> Path:
    """Made below `folder`: COPIED may be changed there."""
    code = folder / "code"
    code.mkdir()
    for name in COPIED:
        shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in LINKED:
        (code / name).symlink_to(ROOT / name)
    return code


@contextmanager
def spoilt(path: Path, old: str, new: str) -> Iterator[None]:
    """Within the block the one `old` in this file is `new`."""
    before = path.read_text()
    if before.count(old) != 1:
        raise ValueError(f"{path.name} has {before.count(old)} of {old!r}")
    path.write_text(before.replace(old, new))
    try:
        yield
    finally:
        path.write_text(before)
