"""Each fault of disks, clocks, limits and members, on real nodes: what it does is seen, and afterwards all is well."""

from __future__ import annotations
