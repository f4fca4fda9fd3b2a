"""The process beside a node that does its pure-Python work: `python -m dohle.runtime.aside_process`.

On its standard input come pickles, each behind its length: a function and arguments. The first one makes the value that
it holds; each later one is called with that value before its arguments. What they return goes back the same way. It
gives way to everything else on the machine, and ends when its input does: with the node, however that ends. What
raises ends it too, and is seen on the standard error.
"""

from __future__ import annotations

import os
import pickle
import sys
from typing import BinaryIO

from dohle.runtime.workers import FRAME

_NICENESS = 19


def main() -> None:
    os.nice(_NICENESS)
    # what is printed by accident must not come between the answers
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    made = False
    value: object = None
    while (frame := _read(sys.stdin.buffer)) is not None:
        work, arguments = pickle.loads(frame)  # noqa: S301 - from the process that started this one
        if made:
            answer = work(value, *arguments)
        else:
            value, made, answer = work(*arguments), True, None
        data = pickle.dumps(answer)
        answers.write(FRAME.pack(len(data)))
        answers.write(data)
        answers.flush()


def _read(source: BinaryIO) -> bytes | None:
    length = source.read(FRAME.size)
    return source.read(FRAME.unpack(length)[0]) if len(length) == FRAME.size else None


if __name__ == "__main__":
    main()
