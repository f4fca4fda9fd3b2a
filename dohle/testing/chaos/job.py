"""Job: what one worker process is to do. Workers write the history; the harness starts and ends them.

A worker is any program that takes one argument, a Job as JSON. It works until SIGTERM, brings to an end what is open,
and exits with 0; with anything else it has failed, and so has the run. Its operations' numbers begin at
`first_operation`, which leaves a thousand million for each.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Literal

Client = Literal["sdk", "librdkafka", "java"]


@dataclass(frozen=True)
class Job:
    """`bootstrap` fits `client`. `topics`: by name, their partitions. `rate_per_s`: operations begun, at most."""

    name: str
    workload: str
    client: Client
    bootstrap: str
    topics: dict[str, int]
    history: str
    origin_s: float
    first_operation: int
    seed: int
    rate_per_s: float = 1000.0
    options: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Job:
        return cls(**json.loads(text))
