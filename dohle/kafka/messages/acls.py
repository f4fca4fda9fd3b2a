"""What a principal may do."""

from __future__ import annotations

from dohle.kafka.declaration import (
    Int8,
    Int16,
    Int32,
    Request,
    Response,
    String,
    Struct,
)


class DescribeAclsRequest(Request, key=29, versions=(1, 3), flexible=2):
    """Lists ACLs."""

    resource_type_filter: Int8
    resource_name_filter: String | None
    pattern_type_filter: Int8 = 3
    principal_filter: String | None
    host_filter: String | None
    operation: Int8
    permission_type: Int8


class DescribeAclsResponse(Response, key=29, versions=(1, 3), flexible=2):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None
    resources: list[Resource]

    class Resource(Struct):
        resource_type: Int8
        resource_name: String
        pattern_type: Int8 = 3
        acls: list[Acl]

        class Acl(Struct):
            principal: String
            host: String
            operation: Int8
            permission_type: Int8


class CreateAclsRequest(Request, key=30, versions=(1, 3), flexible=2):
    """Creates ACLs."""

    creations: list[Creation]

    class Creation(Struct):
        resource_type: Int8
        resource_name: String
        resource_pattern_type: Int8 = 3
        principal: String
        host: String
        operation: Int8
        permission_type: Int8


class CreateAclsResponse(Response, key=30, versions=(1, 3), flexible=2):
    throttle_time_ms: Int32 = 0
    results: list[Result]

    class Result(Struct):
        error_code: Int16
        error_message: String | None


class DeleteAclsRequest(Request, key=31, versions=(1, 3), flexible=2):
    """Deletes the ACLs that match filters."""

    filters: list[Filter]

    class Filter(Struct):
        resource_type_filter: Int8
        resource_name_filter: String | None
        pattern_type_filter: Int8 = 3
        principal_filter: String | None
        host_filter: String | None
        operation: Int8
        permission_type: Int8


class DeleteAclsResponse(Response, key=31, versions=(1, 3), flexible=2):
    throttle_time_ms: Int32 = 0
    filter_results: list[FilterResult]

    class FilterResult(Struct):
        error_code: Int16
        error_message: String | None
        matching_acls: list[MatchingAcl]

        class MatchingAcl(Struct):
            error_code: Int16
            error_message: String | None
            resource_type: Int8
            resource_name: String
            pattern_type: Int8 = 3
            principal: String
            host: String
            operation: Int8
            permission_type: Int8
