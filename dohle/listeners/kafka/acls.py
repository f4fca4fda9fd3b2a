"""DescribeAcls, CreateAcls, DeleteAcls of brokers without an authorizer: everybody may do everything.

They are served all the same, as Kafka's brokers do: a client then knows that there is nothing, and not that it was
refused. An empty list would say that rules exist and that none matches.
"""

from __future__ import annotations

from typing import Final

from dohle.kafka.messages.acls import (
    CreateAclsRequest,
    CreateAclsResponse,
    DeleteAclsRequest,
    DeleteAclsResponse,
    DescribeAclsRequest,
    DescribeAclsResponse,
)
from dohle.listeners.kafka.apis import Caller
from dohle.model.errors import SecurityDisabled

_NONE: Final = "No Authorizer is configured."

CLUSTER_OPERATIONS: Final = sum(1 << operation for operation in (5, 7, 8, 9, 10, 11, 12))
"""What may be done with a cluster, a bit for each of Kafka's operations: create, alter, describe, …"""
TOPIC_OPERATIONS: Final = sum(1 << operation for operation in (3, 4, 5, 6, 7, 8, 10, 11))
"""The same of a topic: read, write, create, delete, …"""
GROUP_OPERATIONS: Final = sum(1 << operation for operation in (3, 6, 8, 10, 11))
"""The same of a group: read, delete, describe, and its configurations."""


async def describe_acls(_request: DescribeAclsRequest, _caller: Caller) -> DescribeAclsResponse:
    return DescribeAclsResponse(
        error_code=SecurityDisabled.code, error_message="No Authorizer is configured on the broker", resources=[]
    )


async def create_acls(request: CreateAclsRequest, _caller: Caller) -> CreateAclsResponse:
    refused = CreateAclsResponse.Result(error_code=SecurityDisabled.code, error_message=_NONE)
    return CreateAclsResponse(results=[refused] * len(request.creations))


async def delete_acls(request: DeleteAclsRequest, _caller: Caller) -> DeleteAclsResponse:
    refused = DeleteAclsResponse.FilterResult(error_code=SecurityDisabled.code, error_message=_NONE, matching_acls=[])
    return DeleteAclsResponse(filter_results=[refused] * len(request.filters))
