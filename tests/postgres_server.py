"""A PostgreSQL server of one's own for tests and benchmarks: made in a temporary folder, gone when the block ends.

It listens on a loopback port alone, asks for a password (SCRAM) and flushes as a real one does. PostgreSQL
refuses to run as root, so root starts it as the user ``postgres``, or ``nobody`` where there is no such user.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

HOST, OWNER = "127.0.0.1", "owner"
PLACES = ("/usr/lib/postgresql", "/usr/local/lib/postgresql", "/opt/homebrew/opt")
START_SECONDS = 60
TRIES = 5
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "password_encryption": "scram-sha-256",
}


class NoServer(Exception):
    """There is no PostgreSQL here that can be started; says why."""


@dataclass
class Server:
    """A server that can be stopped and started again; its superuser is :data:`OWNER`.

    Attributes:
        home: the folder of its programs.
        folder: where its data and its log lie.
        settings: given on its command line.
        who: as whom it runs: arguments of ``subprocess``.
        password: of the superuser.
        port: on loopback, while it runs.
    """

    home: Path
    folder: Path
    settings: Mapping[str, str]
    who: Mapping[str, Any]
    password: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    port: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    def url(self, database: str = "postgres", *, user: str = OWNER, password: str | None = None) -> str:
        """Where a client finds ``database``."""
        return f"postgresql://{user}:{self.password if password is None else password}@{HOST}:{self.port}/{database}"

    def run(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run each statement as the superuser, in a transaction of its own; the rows of the last one."""
        import psycopg

        rows: list[tuple[Any, ...]] = []
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def new_database(self, how: str = "") -> str:
        """The name of a new, empty database."""
        name = f"ledger_{secrets.token_hex(6)}"
        self.run(f"CREATE DATABASE {name} {how}")
        return name

    def start(self) -> None:
        """Start it, on the port that it had, or on any where somebody took that.

        Raises:
            NoServer: it does not start.
        """
        for port in (self.port or _free_port(), *(_free_port() for _ in range(TRIES))):
            options = [word for name, value in self.settings.items() for word in ("-c", f"{name}={value}")]
            command = [str(self.home / "postgres"), "-D", str(self.data), "-p", str(port), *options]
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self.who
                )
            if _ready(self.home, port, self._process):
                self.port = port
                return
            self.stop()
        raise NoServer(f"the server does not start: {(self.folder / 'log').read_text('utf-8', 'replace')[-300:]}")

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it: SIGQUIT at once, as a crash does; SIGINT in order."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(how)
            self._process.wait(timeout=START_SECONDS)
            self._process = None


@contextmanager
def postgres_server(**settings: str) -> Iterator[Server]:
    """A server with these settings over :data:`SETTINGS`.

    Raises:
        NoServer: no installation, no user who may run it, or it would not start.
    """
    home = _installation()
    folder = Path(tempfile.mkdtemp(prefix="privsynth-postgres-"))
    try:
        server = Server(home, folder, {**SETTINGS, **settings}, _unprivileged(folder))
        _make(server)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _installation() -> Path:
    """The folder with ``initdb`` and ``postgres``, of the newest version that is found."""
    told = shutil.which("pg_config")
    asked = [Path(_run([told, "--bindir"]).stdout.strip())] if told else []
    beside = sorted((path.parent for place in PLACES for path in Path(place).glob("*/bin/initdb")), key=_version)
    for home in (*reversed(beside), *asked, *(Path(path).parent for path in filter(None, [shutil.which("initdb")]))):
        if all((home / name).exists() for name in ("initdb", "postgres", "pg_isready")):
            return home
    raise NoServer("no PostgreSQL server is installed (Debian: apt-get install postgresql)")


def _version(home: Path) -> int:
    return int("0" + "".join(filter(str.isdigit, home.parent.name.partition(".")[0])))


def _unprivileged(folder: Path) -> dict[str, Any]:
    """As whom the server runs: arguments of ``subprocess``; ``folder`` is theirs then."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            os.chown(folder, user.pw_uid, user.pw_gid)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise NoServer("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody")


def _make(server: Server) -> None:
    told = server.folder / "password"
    told.write_text(server.password)
    if server.who:
        os.chown(told, server.who["user"], server.who["group"])
    command = [server.home / "initdb", "-D", server.data, "-U", OWNER, "-A", "scram-sha-256", "--pwfile", told]
    made = _run([*command, "--no-sync", "--no-locale", "-E", "UTF8"], cwd=server.folder, **server.who)
    told.unlink()
    if made.returncode:
        raise NoServer(f"initdb failed: {made.stderr.strip()[-300:]}")


def _ready(home: Path, port: int, process: subprocess.Popen[bytes]) -> bool:
    ends = monotonic() + START_SECONDS
    while process.poll() is None and monotonic() < ends:
        if _run([home / "pg_isready", "-q", "-h", HOST, "-p", port]).returncode == 0:
            return True
        sleep(0.05)
    return False


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        return int(taken.getsockname()[1])


def _run(command: Sequence[object], **how: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **how)
