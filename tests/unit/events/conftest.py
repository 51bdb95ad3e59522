"""A private PostgreSQL for the whole run, and a fresh database of either kind for each test."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Running; a test that stops it starts it again."""
    with tempfile.TemporaryDirectory(prefix="cwpg", dir="/tmp") as folder:  # a socket's path must be short
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder) / "s")
        server.start()
        try:
            yield server
        finally:
            server.remove()


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path, _numbers: Iterator[int]) -> str:
    """Of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/callwright.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create(f"test{next(_numbers)}")
