"""A private PostgreSQL server for tests: made in a temporary folder, reached only through its UNIX socket."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path


class PostgresMissing(RuntimeError):
    """No server on this machine."""


def _binary(name: str) -> str:
    folders = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    folders += [Path("/usr/local/bin")]
    for folder in folders:
        if os.access(folder / name, os.X_OK):
            return str(folder / name)
    raise PostgresMissing(f"{name} not found: install Debian's package postgresql")


class PostgresServer:
    """Start and stop at will; the data stay until `remove`. As root it runs as `postgres` or `nobody`, for the
    server refuses to be root."""

    def __init__(self, folder: Path) -> None:
        """folder: a new one, with a short path (a UNIX socket's is at most 107 bytes)."""
        self.folder = folder
        self._data = folder / "data"
        self._control = _binary("pg_ctl")
        folder.mkdir(mode=0o755)
        self._user = _other_user()
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        self._run(
            [
                _binary("initdb"),
                "-N",
                "-D",
                str(self._data),
                "-U",
                "callwright",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
            ]
        )

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://callwright@/{database}?host={self.folder}"

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off -c max_connections=40"
        log = str(self.folder / "log")
        self._run([self._control, "-D", str(self._data), "-w", "-t", "30", "-l", log, "-o", options, "start"])

    def stop(self, mode: str = "immediate") -> None:
        """immediate is a crash: connections fall, recovery comes at the next start."""
        self._run([self._control, "-D", str(self._data), "-w", "-t", "30", "-m", mode, "stop"])

    def create(self, database: str) -> str:
        """A new, empty database; returns its URL."""
        self._run([_binary("createdb"), "-h", str(self.folder), "-U", "callwright", database])
        return self.url(database)

    def remove(self) -> None:
        if (self._data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.folder)

    def _run(self, command: list[str]) -> None:
        who = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if self._user else {}
        done = subprocess.run(  # type: ignore[call-overload]
            command,
            check=False,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            text=True,
            **who,
        )
        if done.returncode != 0:
            log = self.folder / "log"
            tail = log.read_text()[-2000:] if log.exists() else ""
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}{tail}")


def _other_user() -> pwd.struct_passwd | None:
    if os.getuid() != 0:
        return None
    known = {user.pw_name: user for user in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]
