"""ApiVersions: which requests are served in which versions, derived from the table of those that are."""

from __future__ import annotations

import re
from typing import Final

from dohle.kafka.messages.cluster import ApiVersionsRequest, ApiVersionsResponse
from dohle.listeners.kafka.apis import Apis, Caller
from dohle.model.errors import InvalidRequest, UnsupportedVersion

API_VERSIONS: Final = ApiVersionsRequest.API.key
_FIRST_WITH_NAMES: Final = 3
_SOFTWARE: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


class Versions:
    """Answers ApiVersions."""

    def __init__(self, apis: Apis) -> None:
        self._apis = apis

    async def answer(self, request: ApiVersionsRequest, caller: Caller) -> ApiVersionsResponse:
        names = (request.client_software_name, request.client_software_version)
        if caller.api_version >= _FIRST_WITH_NAMES and not all(map(_SOFTWARE.fullmatch, names)):
            return ApiVersionsResponse(error_code=InvalidRequest.code, api_keys=[])
        return ApiVersionsResponse(error_code=0, api_keys=[_version(self._apis, key) for key in self._apis])


def unsupported_api_versions(apis: Apis) -> ApiVersionsResponse:
    """Returns the answer, to be sent as version 0, to a version of ApiVersions that is not served."""
    return ApiVersionsResponse(error_code=UnsupportedVersion.code, api_keys=[_version(apis, API_VERSIONS)])


def _version(apis: Apis, key: int) -> ApiVersionsResponse.ApiVersion:
    api = apis[key]
    return ApiVersionsResponse.ApiVersion(api_key=key, min_version=api.first_version, max_version=api.last_version)
