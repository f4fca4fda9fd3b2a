"""ApiVersions: which requests are served in which versions, derived from the table of those that are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from dohle.kafka.messages.cluster import ApiVersionsRequest, ApiVersionsResponse
from dohle.listeners.kafka.apis import Apis, Caller
from dohle.listeners.kafka.clients import SoftwareCounts
from dohle.model.errors import InvalidRequest, UnsupportedVersion
from dohle.model.image import ClusterImage
from dohle.model.metadata import GROUP_VERSION, SUPPORTED_FEATURES

API_VERSIONS: Final = ApiVersionsRequest.API.key
_FIRST_WITH_NAMES: Final = 3
_FIRST_WITH_ABSENT_FEATURES: Final = 4
"""Clients of earlier versions do not understand a feature that may be absent, which its level 0 says (KIP-1022)."""
_SOFTWARE: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


class Versions:
    """Answers ApiVersions, and counts whose software asks; `image` is of what the cluster works at."""

    def __init__(self, apis: Apis, image: Callable[[], ClusterImage], software: SoftwareCounts) -> None:
        self._apis = apis
        self._image = image
        self._software = software

    async def answer(self, request: ApiVersionsRequest, caller: Caller) -> ApiVersionsResponse:
        names = (request.client_software_name, request.client_software_version)
        if caller.api_version >= _FIRST_WITH_NAMES:
            if not all(map(_SOFTWARE.fullmatch, names)):
                return ApiVersionsResponse(error_code=InvalidRequest.code, api_keys=[])
            self._software.count(*names)
        response = ApiVersionsResponse(error_code=0, api_keys=[_version(self._apis, key) for key in self._apis])
        image = self._image()
        if image.features:
            response.supported_features = [
                ApiVersionsResponse.SupportedFeature(name=name, min_version=least, max_version=most)
                for name, least, most in SUPPORTED_FEATURES
                if least or caller.api_version >= _FIRST_WITH_ABSENT_FEATURES
            ]
            response.finalized_features_epoch = image.next_offset - 1
            response.finalized_features = [
                ApiVersionsResponse.FinalizedFeature(name=name, max_version_level=level, min_version_level=level)
                for name, level in finalised_features(image).items()
            ]
        return response


def finalised_features(image: ClusterImage) -> dict[str, int]:
    """Returns the levels at which the cluster works, by name."""
    groups = {GROUP_VERSION: 1} if image.all_support(GROUP_VERSION, 1) else {}
    return dict(sorted({**image.features, **groups}.items()))


def unsupported_api_versions(apis: Apis) -> ApiVersionsResponse:
    """Returns the answer, to be sent as version 0, to a version of ApiVersions that is not served."""
    return ApiVersionsResponse(error_code=UnsupportedVersion.code, api_keys=[_version(apis, API_VERSIONS)])


def _version(apis: Apis, key: int) -> ApiVersionsResponse.ApiVersion:
    api = apis[key]
    return ApiVersionsResponse.ApiVersion(api_key=key, min_version=api.first_version, max_version=api.last_version)
