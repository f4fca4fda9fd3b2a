"""Findings: what recoveries found and the controller has not been told yet.

`recovery-findings` lists, as the checkpoints do, a version, a count, and a line `topic partition proven cut_bytes
cut_offset` for each log that cut a torn tail or is not proven.
"""

from __future__ import annotations

from collections.abc import Mapping

from dohle.model.errors import DataFolderError
from dohle.storage.checkpoints import LogKey
from dohle.storage.opened import Recovery

FINDINGS_FILE = "recovery-findings"


def merge(earlier: Recovery, latest: Recovery) -> Recovery:
    """Returns what is to be reported when `earlier` never was."""
    offsets = [one.cut_offset for one in (earlier, latest) if one.cut_offset >= 0]
    return Recovery(
        clean=latest.clean,
        proven=earlier.proven and latest.proven,
        cut_bytes=earlier.cut_bytes + latest.cut_bytes,
        cut_offset=min(offsets, default=-1),
    )


def encode_findings(findings: Mapping[LogKey, Recovery]) -> str:
    lines = "".join(
        f"{topic} {partition} {int(one.proven)} {one.cut_bytes} {one.cut_offset}\n"
        for (topic, partition), one in findings.items()
    )
    return f"0\n{len(findings)}\n{lines}"


def decode_findings(path: str, data: bytes) -> dict[LogKey, Recovery]:
    """Raises DataFolderError where the file is damaged."""
    findings: dict[LogKey, Recovery] = {}
    try:
        lines = data.decode("ascii").splitlines()
        for line in lines[2:]:
            topic, partition, proven, cut_bytes, cut_offset = line.split(" ")
            findings[topic, int(partition)] = Recovery(False, proven == "1", int(cut_bytes), int(cut_offset))
        if lines[0] != "0" or int(lines[1]) != len(findings):
            raise ValueError(f"{lines[1]} entries announced, {len(findings)} found")
    except (ValueError, IndexError) as error:
        raise DataFolderError(
            f"{path} is damaged ({error}): delete it; if a log of this node lost records in a crash, check it against "
            "the other replicas"
        ) from error
    return findings
