"""Runs: what a seed plans, how it is run and judged, many of them, and how a failing one is made small."""
