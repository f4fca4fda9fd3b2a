"""How hypothesis works in all tests: how long an example takes says how busy the machine is, and nothing else."""

from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
