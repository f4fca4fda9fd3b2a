"""Every message that clients of Kafka 4.3 send to brokers, by family; brokers' and controllers' own are not here.

Nor are the requests of Kafka Streams' own group protocol (88, 89): Streams runs on classic groups. `api` finds the two
messages of a key, and loads the family with its first use.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Final

from dohle.kafka.declaration import Request, Response

_FOUND_AT: Final = {
    0: "dohle.kafka.messages.produce:Produce",
    1: "dohle.kafka.messages.fetch:Fetch",
    2: "dohle.kafka.messages.fetch:ListOffsets",
    3: "dohle.kafka.messages.cluster:Metadata",
    8: "dohle.kafka.messages.groups:OffsetCommit",
    9: "dohle.kafka.messages.groups:OffsetFetch",
    10: "dohle.kafka.messages.groups:FindCoordinator",
    11: "dohle.kafka.messages.groups:JoinGroup",
    12: "dohle.kafka.messages.groups:Heartbeat",
    13: "dohle.kafka.messages.groups:LeaveGroup",
    14: "dohle.kafka.messages.groups:SyncGroup",
    15: "dohle.kafka.messages.groups:DescribeGroups",
    16: "dohle.kafka.messages.groups:ListGroups",
    17: "dohle.kafka.messages.security:SaslHandshake",
    18: "dohle.kafka.messages.cluster:ApiVersions",
    19: "dohle.kafka.messages.topics:CreateTopics",
    20: "dohle.kafka.messages.topics:DeleteTopics",
    21: "dohle.kafka.messages.topics:DeleteRecords",
    22: "dohle.kafka.messages.produce:InitProducerId",
    23: "dohle.kafka.messages.fetch:OffsetForLeaderEpoch",
    24: "dohle.kafka.messages.transactions:AddPartitionsToTxn",
    25: "dohle.kafka.messages.transactions:AddOffsetsToTxn",
    26: "dohle.kafka.messages.transactions:EndTxn",
    27: "dohle.kafka.messages.transactions:WriteTxnMarkers",
    28: "dohle.kafka.messages.transactions:TxnOffsetCommit",
    29: "dohle.kafka.messages.acls:DescribeAcls",
    30: "dohle.kafka.messages.acls:CreateAcls",
    31: "dohle.kafka.messages.acls:DeleteAcls",
    32: "dohle.kafka.messages.configs:DescribeConfigs",
    33: "dohle.kafka.messages.configs:AlterConfigs",
    34: "dohle.kafka.messages.placement:AlterReplicaLogDirs",
    35: "dohle.kafka.messages.placement:DescribeLogDirs",
    36: "dohle.kafka.messages.security:SaslAuthenticate",
    37: "dohle.kafka.messages.topics:CreatePartitions",
    38: "dohle.kafka.messages.security:CreateDelegationToken",
    39: "dohle.kafka.messages.security:RenewDelegationToken",
    40: "dohle.kafka.messages.security:ExpireDelegationToken",
    41: "dohle.kafka.messages.security:DescribeDelegationToken",
    42: "dohle.kafka.messages.groups:DeleteGroups",
    43: "dohle.kafka.messages.placement:ElectLeaders",
    44: "dohle.kafka.messages.configs:IncrementalAlterConfigs",
    45: "dohle.kafka.messages.placement:AlterPartitionReassignments",
    46: "dohle.kafka.messages.placement:ListPartitionReassignments",
    47: "dohle.kafka.messages.groups:OffsetDelete",
    48: "dohle.kafka.messages.quotas:DescribeClientQuotas",
    49: "dohle.kafka.messages.quotas:AlterClientQuotas",
    50: "dohle.kafka.messages.security:DescribeUserScramCredentials",
    51: "dohle.kafka.messages.security:AlterUserScramCredentials",
    55: "dohle.kafka.messages.quorum:DescribeQuorum",
    57: "dohle.kafka.messages.quorum:UpdateFeatures",
    60: "dohle.kafka.messages.cluster:DescribeCluster",
    61: "dohle.kafka.messages.transactions:DescribeProducers",
    64: "dohle.kafka.messages.quorum:UnregisterBroker",
    65: "dohle.kafka.messages.transactions:DescribeTransactions",
    66: "dohle.kafka.messages.transactions:ListTransactions",
    68: "dohle.kafka.messages.consumer_groups:ConsumerGroupHeartbeat",
    69: "dohle.kafka.messages.consumer_groups:ConsumerGroupDescribe",
    71: "dohle.kafka.messages.telemetry:GetTelemetrySubscriptions",
    72: "dohle.kafka.messages.telemetry:PushTelemetry",
    74: "dohle.kafka.messages.configs:ListConfigResources",
    75: "dohle.kafka.messages.cluster:DescribeTopicPartitions",
    76: "dohle.kafka.messages.share_groups:ShareGroupHeartbeat",
    77: "dohle.kafka.messages.share_groups:ShareGroupDescribe",
    78: "dohle.kafka.messages.share_groups:ShareFetch",
    79: "dohle.kafka.messages.share_groups:ShareAcknowledge",
    80: "dohle.kafka.messages.quorum:AddRaftVoter",
    81: "dohle.kafka.messages.quorum:RemoveRaftVoter",
    90: "dohle.kafka.messages.share_groups:DescribeShareGroupOffsets",
    91: "dohle.kafka.messages.share_groups:AlterShareGroupOffsets",
    92: "dohle.kafka.messages.share_groups:DeleteShareGroupOffsets",
}

API_KEYS: Final = tuple(_FOUND_AT)
"""The keys of all declared messages, ascending."""


@cache
def api(key: int) -> tuple[type[Request], type[Response]]:
    """Returns the request and the response of an API key. Raises KeyError for one that is not declared."""
    module_name, _, name = _FOUND_AT[key].partition(":")
    module = import_module(module_name)
    request, response = getattr(module, f"{name}Request"), getattr(module, f"{name}Response")
    assert issubclass(request, Request)
    assert issubclass(response, Response)
    return request, response
