"""Findings: what recoveries found and the controller has not been told yet.

`recovery-findings` lists, as the checkpoints do, a version, a count, and a line `topic partition proven cut_bytes
cut_offset` for each log that cut a torn tail or is not proven; and, from version 1 on, a checksum of all that, for a
replica that lacks something must not lead because a byte is another. In place of `proven`, which is 0 or 1, stands
`lost` where an offline repair has cut what was durable.
"""

from __future__ import annotations

from collections.abc import Mapping

from crc32c import crc32c

from dohle.model.errors import DataFolderError
from dohle.storage.checkpoints import LogKey
from dohle.storage.opened import Recovery

FINDINGS_FILE = "recovery-findings"
_LOST = "lost"


def merge(earlier: Recovery, latest: Recovery) -> Recovery:
    """Returns what is to be reported when `earlier` never was."""
    offsets = [one.cut_offset for one in (earlier, latest) if one.cut_offset >= 0]
    return Recovery(
        clean=latest.clean,
        proven=earlier.proven and latest.proven,
        cut_bytes=earlier.cut_bytes + latest.cut_bytes,
        cut_offset=min(offsets, default=-1),
        lost=earlier.lost or latest.lost,
    )


def encode_findings(findings: Mapping[LogKey, Recovery]) -> str:
    lines = "".join(
        f"{topic} {partition} {_LOST if one.lost else int(one.proven)} {one.cut_bytes} {one.cut_offset}\n"
        for (topic, partition), one in findings.items()
    )
    body = f"1\n{len(findings)}\n{lines}"
    return f"{body}crc32c {crc32c(body.encode()):08x}\n"


def decode_findings(path: str, data: bytes) -> dict[LogKey, Recovery]:
    """Raises DataFolderError where the file is damaged."""
    findings: dict[LogKey, Recovery] = {}
    try:
        text = data.decode("ascii")
        if not text.startswith("0\n"):  # of version 0, which had none
            body, mark, checksum = text.rpartition("crc32c ")
            if not mark or checksum != f"{crc32c(body.encode()):08x}\n":
                raise ValueError("its checksum does not match")
            text = body
        lines = text.splitlines()
        for line in lines[2:]:
            topic, partition, proven, cut_bytes, cut_offset = line.split(" ")
            is_proven, is_lost = proven == "1", proven == _LOST
            findings[topic, int(partition)] = Recovery(False, is_proven, int(cut_bytes), int(cut_offset), is_lost)
        if lines[0] not in ("0", "1"):
            raise ValueError(f"version {lines[0]} is unknown")
        if int(lines[1]) != len(findings):
            raise ValueError(f"{lines[1]} entries announced, {len(findings)} found")
    except (ValueError, IndexError) as error:
        raise DataFolderError(
            f"{path} is damaged ({error}): delete it; if a log of this node lost records in a crash, check it against "
            "the other replicas"
        ) from error
    return findings
