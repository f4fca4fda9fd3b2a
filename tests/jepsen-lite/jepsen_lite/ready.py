"""`python ready.py HOST PORT COMMAND …`: becomes COMMAND, and says that it is ready once HOST:PORT takes connections.

For programs that do not say so themselves, as Dohle's nodes do: "ready" is written to the descriptor that the variable
DOHLE_READY_FD names. Who waits there sees the end of it if the program ends before.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Sequence

READY_VARIABLE = "DOHLE_READY_FD"
_POLL_MS = 50


def main(arguments: Sequence[str]) -> None:
    host, port, *command = arguments
    heard_by = int(os.environ.pop(READY_VARIABLE))
    program = os.pidfd_open(os.getpid())
    if os.fork() == 0:
        if os.fork() == 0:  # nobody's child: the program knows of no children
            _tell(host, int(port), program, heard_by)
        os._exit(0)
    os.wait()
    os.close(program)
    os.close(heard_by)
    os.execvp(command[0], command)


def _tell(host: str, port: int, program: int, heard_by: int) -> None:
    """Tells once somebody listens; nothing if the program ends before."""
    ended = select.poll()
    ended.register(program, select.POLLIN)
    while not ended.poll(_POLL_MS):
        try:
            socket.create_connection((host, port), 1).close()
        except OSError:
            continue
        os.write(heard_by, b"ready\n")
        return


if __name__ == "__main__":
    main(sys.argv[1:])
