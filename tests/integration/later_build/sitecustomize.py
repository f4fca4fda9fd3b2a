"""Software of the next version, for tests: with this folder on PYTHONPATH, Dohle knows one metadata.version more, and
in it one field more of one record."""

from __future__ import annotations

from dataclasses import dataclass

from dohle.model import metadata


@dataclass(frozen=True, slots=True)
class ReassignmentThrottle:
    """As today's, with a field that the next version brings."""

    bytes_per_s: int
    said_by: str = ""


LATER = metadata.NEWEST_METADATA_VERSION + 1

metadata.NEWEST_METADATA_VERSION = LATER
metadata.SUPPORTED_FEATURES = (
    metadata.FeatureRange(metadata.METADATA_VERSION, metadata.OLDEST_METADATA_VERSION, LATER),
)
metadata.ReassignmentThrottle = ReassignmentThrottle  # type: ignore[misc, assignment]

from dohle.model import metadata_forms  # noqa: E402 - it imports what was put in place above

forms = (
    metadata_forms._form(15, 1, ReassignmentThrottle, "bytes_per_s"),
    metadata_forms._form(15, LATER, ReassignmentThrottle),
)
metadata_forms._FORM_AT |= {(form.record_type, form.version): form for form in forms}
metadata_forms._FORMS_OF[ReassignmentThrottle] = forms[::-1]
