"""A private PostgreSQL for the crash test and the benchmarks: own folder, free port, gone at the end."""
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

START_TIMEOUT_SECONDS = 60


def bin_folder(major):
    """Returns the folder of PostgreSQL's programs; those of other majors are in $FRESHET_DEPS."""
    bundled = pathlib.Path(os.environ.get("FRESHET_DEPS", ".deps"), "postgres", str(major), "bin")
    debian = pathlib.Path("/usr/lib/postgresql", str(major), "bin")
    for folder in (debian, bundled):
        if (folder / "initdb").exists():
            return folder.resolve()
    raise SystemExit(f"PostgreSQL {major} is not installed: run scripts/postgres_major.sh {major}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ServerError(Exception):
    """A program of PostgreSQL failed; the message is its own."""


class PrivatePostgres:
    """A cluster in a temporary folder, listening on 127.0.0.1 and on a socket in that folder.

    A context manager: leaving it stops the server and removes the folder.
    """

    def __init__(self, major=15, settings=None):
        self.bin = bin_folder(major)
        self.port = free_port()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="freshet-pg-"))
        self.data = self.folder / "data"
        # PostgreSQL refuses to run as root.
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            shutil.chown(self.folder, self.user)
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                  "--no-locale", "-N")
        chosen = {
            "listen_addresses": "'127.0.0.1'",
            "port": self.port,
            "unix_socket_directories": f"'{self.folder}'",
            "wal_level": "logical",
            **(settings or {}),
        }
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.writelines(f"{key} = {value}\n" for key, value in chosen.items())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        """Starts the server and waits until it answers.

        After kill() the old children may hold the shared memory for a moment: tries again.
        """
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                self._run("pg_ctl", "-D", self.data, "-l", self.folder / "server.log", "-w", "start")
                return
            except ServerError:
                if time.monotonic() > deadline:
                    raise

    def stop(self, mode="fast"):
        """Stops the server: smart, fast or immediate (no checkpoint, like a crash)."""
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop", check=False)

    def kill(self):
        """kill -9 of the server."""
        pid = int((self.data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        os.kill(pid, signal.SIGKILL)

    def url(self, database, tcp=True):
        if tcp:
            return f"postgres://postgres@127.0.0.1:{self.port}/{database}"
        return f"host={self.folder} port={self.port} user=postgres dbname={database}"

    def sql(self, database, text):
        """Runs SQL, returns what psql prints: unaligned, no headers."""
        return self._run("/usr/bin/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d",
                         self.url(database, tcp=False), input=text).strip()

    def _run(self, program, *arguments, input=None, check=True):
        done = subprocess.run([self.bin / program, *arguments], input=input, text=True, cwd="/",
                              user=self.user if os.geteuid() == 0 else None,
                              stdin=None if input is not None else subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if check and done.returncode != 0:
            raise ServerError(f"{program} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout
