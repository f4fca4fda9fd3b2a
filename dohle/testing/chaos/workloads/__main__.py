"""The worker program of the SDK."""

import sys

from dohle.testing.chaos.workloads.worker import main

sys.exit(main(sys.argv[1:]))
