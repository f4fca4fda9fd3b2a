"""Apache Kafka itself, its jars from Maven Central and those of its commands that suites call."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

from tests.suites.cache import Unavailable, cache_folder, run

KAFKA = "4.3.1"
POM = f"""<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dohle</groupId>
  <artifactId>a-real-kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{KAFKA}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
COMMANDS = {
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
}


def kafka_home() -> Path:
    """Returns a folder with `bin` and `libs` as in Kafka's own distribution, made once."""
    folder = cache_folder() / f"kafka-{KAFKA}-{sha256(repr((POM, COMMANDS)).encode()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(mkdtemp(dir=folder.parent, prefix=".kafka-"))
    try:
        (making / "pom.xml").write_text(POM)
        run(["mvn", "-q", "-B", PLUGIN, "-DincludeScope=runtime", f"-DoutputDirectory={making}/libs"], making)
        if not any(making.glob("libs/kafka_2.13-*.jar")):
            raise Unavailable("Maven brought no jar of Kafka's broker")
        (making / "bin").mkdir()
        for name, main_class in COMMANDS.items():
            script = making / "bin" / name
            script.write_text(
                f"#!/bin/sh\nexec java -XX:TieredStopAtLevel=1 -cp '{folder}/libs/*' {main_class} \"$@\"\n"
            )
            script.chmod(0o755)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder
