"""The worker program of Kafka's clients: `python worker.py JOB`, which it is told as the SDK's is."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dohle.testing.chaos.workload import Workload
from dohle.testing.chaos.workloads.kinds import workloads_of
from dohle.testing.chaos.workloads.worker import Makers, main
from jepsen_lite.java_client import JavaClient, build
from jepsen_lite.librdkafka_client import LibrdkafkaClient

COMMAND = (sys.executable, __file__)
LIBRDKAFKA_WORKLOADS = workloads_of("librdkafka", COMMAND)
MAKERS: Makers = {
    "librdkafka": lambda job: LibrdkafkaClient(job.bootstrap),
    "java": lambda job: JavaClient(job.bootstrap),
}


def java_workloads() -> tuple[Workload, ...]:
    """Builds the Java program before. Raises `tests.compat.builds.Missing`, which says what that needs."""
    build()
    return workloads_of("java", COMMAND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], MAKERS))
