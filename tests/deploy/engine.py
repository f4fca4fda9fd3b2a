"""A container engine for tests alone: dockerd in namespaces of its own, with a base image made on this machine.

Networks and mounts of the engine are in namespaces that end with it: its bridges and its rules of packet filters touch
nothing else here, and nothing else here is in the way of its ports. "The host" of its containers is inside as well:
`on_host` is how to get there. It takes root, Linux and some Debian packages, which `why_not` names.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.integration.clusters import until
from tools.foreign.cache import made, run

BASE_IMAGE = "dohle-base"
_SUITE, _MIRROR = "bookworm", "http://deb.debian.org/debian"
_PACKAGES = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "debootstrap": "debootstrap",
    "unshare": "util-linux",
    "ip": "iproute2",
}
_LEFT_OUT = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man")
_PATIENCE_S = 60


def why_not() -> str:
    """Returns what keeps this machine from having an engine, or nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a container engine of the test's own needs Linux and root"
    missing = {package for program, package in _PACKAGES.items() if shutil.which(program) is None}
    if not compose_command():
        missing.add("docker-compose")
    return f"a container engine needs: apt-get install {' '.join(sorted(missing))}" if missing else ""


def compose_command() -> list[str]:
    """Returns how Compose is called: as COMPOSE says, else version 2 if there is one, else docker-compose."""
    if chosen := os.environ.get("COMPOSE"):
        return chosen.split()
    with contextlib.suppress(FileNotFoundError):
        if not subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
            return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else []


def base_archive() -> Path:
    """Returns a tar file of a Debian with Python and nothing else, which is made once and kept."""

    def make(folder: Path) -> None:
        root = folder / "root"
        run(["debootstrap", "--variant=minbase", "--include=python3", _SUITE, str(root), _MIRROR], folder)
        left_out = [f"--exclude=./{path}" for path in _LEFT_OUT]
        run(["tar", "--create", "--file", "base.tar", "--directory", str(root), *left_out, "."], folder)
        shutil.rmtree(root)

    return made("debian-base", f"{_SUITE} {_MIRROR} python3 {' '.join(_LEFT_OUT)}", make) / "base.tar"


class Engine:
    """Runs from `start` to `end`. All that it keeps lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "dockerd.log"
        self._socket = f"unix://{folder}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        of_another = ("DOHLE_", "DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_CERT_PATH")
        mine = {name: value for name, value in os.environ.items() if not name.startswith(of_another)}
        return {**mine, "DOCKER_HOST": self._socket, "COMPOSE_INTERACTIVE_NO_CLI": "1"}

    def start(self) -> None:
        dockerd = [
            *("dockerd", "--host", self._socket, "--pidfile", f"{self.folder}/pid"),
            *("--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec"),
        ]
        # ends with this process, whatever becomes of it, and all containers with it
        in_namespaces = ["setpriv", "--pdeathsig", "TERM", "unshare", "--net", "--mount"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*in_namespaces, "sh", "-c", 'ip link set lo up; exec "$@"', "sh", *dockerd],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._answers, f"dockerd answers; {self.log} says why not", _PATIENCE_S)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"dockerd has ended:\n{self.log.read_text()[-3000:]}"
        found = subprocess.run(["docker", "version"], env=self.environment, capture_output=True, check=False)
        return found.returncode == 0

    def end(self) -> None:
        """Stops the engine, and with it all containers; takes its folder away."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(_PATIENCE_S)
        shutil.rmtree(self.folder, ignore_errors=True)
        for group in Path("/sys/fs/cgroup").glob("*/docker"):  # empty, of an engine that was the only one here
            with contextlib.suppress(OSError):
                group.rmdir()

    def import_base(self) -> None:
        self.docker("import", str(base_archive()), BASE_IMAGE)

    def on_host(self, *command: str) -> list[str]:
        """Returns a command that runs `command` where the containers' published ports are."""
        assert self._process is not None
        return ["nsenter", "--target", str(self._process.pid), "--net", *command]

    def docker(self, *arguments: str) -> str:
        return self.call(["docker", *arguments])

    def inspect(self, what: str) -> Any:
        return json.loads(self.docker("inspect", what))[0]

    def call(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] = MappingProxyType({}),
        *,
        stdin: str = "",
        code: int | None = 0,
        timeout_s: float = 300,
    ) -> str:
        """Runs a command that must end with `code`, unless that is None; returns what it printed, stderr last."""
        done = subprocess.run(
            command,
            env={**self.environment, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout_s,
        )
        said = done.stdout + done.stderr
        assert code in (None, done.returncode), f"{' '.join(command)}: exit code {done.returncode}\n{said[-4000:]}"
        return said
