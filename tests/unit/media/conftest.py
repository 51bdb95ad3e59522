"""Every test of the plane runs over both cores."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.media.core import Core, native_core
from engine.media.reference import ReferenceCore
from tests.unit.media.rig import Rig

Maker = Callable[[int], Core]
MAKERS: dict[str, Maker] = {
    "native": lambda ports: native_core(ports, stepped=True),
    "reference": lambda ports: ReferenceCore(ports=ports),
}


@pytest.fixture(params=sorted(MAKERS))
def core(request: pytest.FixtureRequest) -> Core:
    return MAKERS[request.param](64)


@pytest.fixture
def rig(core: Core, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(core, tmp_path)
    yield made
    made.close()
