"""DescribeAcls, CreateAcls, DeleteAcls of a broker without an authorizer, and quotas."""

from __future__ import annotations

from typing import Any

from dohle.kafka.messages.acls import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest
from tests.differential.cases import Cases, all_versions

ANY, TOPIC = 1, 2

DESCRIBE = Cases(29)


def acls(**how: Any) -> DescribeAclsRequest:
    return DescribeAclsRequest(
        **{
            "resource_type_filter": ANY,
            "resource_name_filter": None,
            "pattern_type_filter": ANY,
            "principal_filter": None,
            "host_filter": None,
            "operation": ANY,
            "permission_type": ANY,
            **how,
        }
    )


DESCRIBE.bad("all", lambda _: acls(), all_versions(29))
DESCRIBE.bad("of a topic", lambda _: acls(resource_type_filter=TOPIC, resource_name_filter="t", pattern_type_filter=3))
DESCRIBE.bad("of somebody", lambda _: acls(principal_filter="User:me"))
DESCRIBE.bad("of an unknown resource", lambda _: acls(resource_type_filter=99))
DESCRIBE.bad("of resource 0", lambda _: acls(resource_type_filter=0))
DESCRIBE.bad("of an unknown operation", lambda _: acls(operation=99))
DESCRIBE.bad("of a negative permission", lambda _: acls(permission_type=-1))

CREATE = Cases(30)


def creation(**how: Any) -> CreateAclsRequest:
    one = CreateAclsRequest.Creation(
        **{
            "resource_type": TOPIC,
            "resource_name": "t",
            "principal": "User:me",
            "host": "*",
            "operation": 3,
            "permission_type": 3,
            **how,
        }
    )
    return CreateAclsRequest(creations=[one])


CREATE.bad("one", lambda _: creation(), all_versions(30))
CREATE.bad("of an unknown operation", lambda _: creation(operation=99))
CREATE.bad("of an unknown resource", lambda _: creation(resource_type=99))
CREATE.bad("without a name", lambda _: creation(resource_name=""))
CREATE.bad("of a negative permission", lambda _: creation(permission_type=-1))

DELETE = Cases(31)


def deletion(**how: Any) -> DeleteAclsRequest:
    one = DeleteAclsRequest.Filter(
        **{
            "resource_type_filter": ANY,
            "resource_name_filter": None,
            "pattern_type_filter": ANY,
            "principal_filter": None,
            "host_filter": None,
            "operation": ANY,
            "permission_type": ANY,
            **how,
        }
    )
    return DeleteAclsRequest(filters=[one])


DELETE.bad("all", lambda _: deletion(), all_versions(31))
DELETE.bad("of a topic", lambda _: deletion(resource_type_filter=TOPIC, resource_name_filter="t"))
DELETE.bad("of an unknown operation", lambda _: deletion(operation=99))
DELETE.bad("of an unknown resource", lambda _: deletion(resource_type_filter=99))
DELETE.bad("of a negative permission", lambda _: deletion(permission_type=-1))

ALL = (DESCRIBE, CREATE, DELETE)
