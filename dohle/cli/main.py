"""Where the `dohle` command begins: commands by name, and what becomes of their errors.

Keeps: nobody sees a traceback for what a user can cause; a command's module is imported only when it is used, and
`dohle node`, which must start fast and stay small, imports neither click nor rich.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from collections.abc import Sequence

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def main() -> None:
    """Runs the command that the process was started with, and ends the process."""
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    try:
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # whose reader has enough
            code = _say_unwritten(error)
        # without this the interpreter would complain once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Runs one command, says on stderr what went wrong, and returns the exit code."""
    from dohle.model.errors import DohleError

    try:
        if arguments[:1] == ["node"]:
            return _run_node(arguments[1:])
        return _run_command(arguments)
    except DohleError as error:
        print(f"dohle: {error.message}", file=sys.stderr)
        return EXIT_ERROR
    except BrokenPipeError:
        return 0
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return _say_unwritten(error)
        if error.filename is None:
            raise
        print(f"dohle: cannot use {error.filename}: {error.strerror}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _say_unwritten(error: OSError) -> int:
    print(f"dohle: the output cannot be written: {error.strerror}", file=sys.stderr)
    return EXIT_ERROR


def _run_node(arguments: Sequence[str]) -> int:
    gc.disable()  # until `run_node` sets its own thresholds: imports make no garbage, only much to look through
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until `run_node` listens to it, it ends the process: a KeyboardInterrupt in the midst of imports may be lost.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from dohle.cluster.process import NODE_HELP, run_node

    if "--help" in arguments or "-h" in arguments:
        print(NODE_HELP)
        return 0
    return run_node(arguments, os.environ)


def _run_command(arguments: Sequence[str]) -> int:
    import click

    from dohle.cli.commands import dohle

    try:
        outcome = dohle.main(args=list(arguments), prog_name="dohle", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return EXIT_USAGE
    except click.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return EXIT_ERROR
    except SystemExit:  # click's answer to a reader of our output that has enough, which is no error
        return 0
    return outcome if isinstance(outcome, int) else 0
