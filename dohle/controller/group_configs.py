"""Groups' own values of configuration keys. Whether there is such a group is not asked: its coordinator knows."""

from __future__ import annotations

from collections import Counter

from dohle.controller.decision import failure_of, need_version
from dohle.model.errors import DohleError, InvalidConfig, InvalidRequest
from dohle.model.group_config import group_config_key, parse_group_overrides
from dohle.model.image import ClusterImage
from dohle.model.metadata import GROUP_CONFIGS_VERSION, GroupOverride
from dohle.rpc.v1 import admin_pb2


def alter_group_configs(
    image: ClusterImage, request: admin_pb2.AlterConfigsRequest, response: admin_pb2.AlterConfigsResponse
) -> list[GroupOverride]:
    """Decides on the groups of a request, each by itself; adds what becomes of each to the response."""
    records: list[GroupOverride] = []
    counts = Counter(wanted.group for wanted in request.groups)
    for wanted in request.groups:
        answer = response.groups.add(group=wanted.group)
        try:
            need_version(image, GROUP_CONFIGS_VERSION, "the configuration of a group")
            if not wanted.group:
                raise InvalidRequest("groups have no configuration that holds for all of them: name one")
            if counts[wanted.group] > 1:
                raise InvalidRequest(f"group {wanted.group} is named {counts[wanted.group]} times: name it once")
            records += _changes(image, wanted)
        except DohleError as error:
            answer.failure.CopyFrom(failure_of(error))
    return records


def _changes(image: ClusterImage, wanted: admin_pb2.AlterGroupConfigs) -> list[GroupOverride]:
    before = image.group_overrides.get(wanted.group, {})
    changes: dict[str, str | None] = dict.fromkeys(before) if wanted.replace else {}
    given = {entry.name: entry.value.strip() for entry in wanted.set}
    if len(given) < len(wanted.set):
        raise InvalidConfig("a configuration key is given twice: give each one once")
    changes |= given
    for name in wanted.remove:
        group_config_key(name)
        if name in given:
            raise InvalidConfig(f"{name} is both set and taken back to its default: choose one")
        changes[name] = None
    parse_group_overrides(given)
    return [
        GroupOverride(wanted.group, name, value) for name, value in sorted(changes.items()) if before.get(name) != value
    ]
