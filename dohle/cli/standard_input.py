"""Standard input as chunks of whole lines, without holding up the event loop or the end of the process."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator

_CHUNK_BYTES = 256 << 10
_STDIN = 0
_END = None


async def input_lines() -> AsyncIterator[list[bytes]]:
    """Yields the lines of standard input, without their ends, as many at a time as there are. Empty ones included."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=4)

    def read() -> None:
        # os.read, since a thread that waits in sys.stdin at the end of the process makes the interpreter abort
        chunk: bytes | None = b""
        while chunk is not _END:
            chunk = os.read(_STDIN, _CHUNK_BYTES) or _END
            try:
                asyncio.run_coroutine_threadsafe(chunks.put(chunk), loop).result()
            except RuntimeError:  # the loop has ended before its input
                return

    threading.Thread(target=read, name="stdin", daemon=True).start()
    rest = b""
    while (chunk := await chunks.get()) is not _END:
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield [line.removesuffix(b"\r") for line in lines]
    if rest:
        yield [rest]
