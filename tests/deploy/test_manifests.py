"""What is in deploy/ beside containers that run: units, manifests, alerts and dashboards say what they may say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from dohle.cluster.config_sources import load_config
from tests.means import lacks

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
KUBERNETES = ("1.28", "1.32", "1.37")
_METRIC = re.compile(r"\b(?:dohle|process)_[a-z_]+")


def manifests() -> list[dict]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / "dohle.yaml").read_text()))


def stateful_set() -> dict:
    (found,) = (one for one in manifests() if one["kind"] == "StatefulSet")
    return found


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_manifests_fit_the_schema_of_kubernetes(version: str) -> None:
    for manifest in manifests():
        kubernetes_validate.validate(manifest, version, strict=True)
    wrong = deepcopy(stateful_set())
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_the_manifests_fit_each_other() -> None:
    found = {(one["kind"], one["metadata"]["name"]): one["spec"] for one in manifests()}
    pods = found["StatefulSet", "dohle"]["template"]
    labels = pods["metadata"]["labels"]
    assert found["StatefulSet", "dohle"]["serviceName"] == "dohle"
    assert found["StatefulSet", "dohle"]["selector"]["matchLabels"] == labels
    assert found["PodDisruptionBudget", "dohle"]["selector"]["matchLabels"] == labels
    for service in ("dohle", "dohle-any"):
        assert found["Service", service]["selector"] == labels
    (node,) = pods["spec"]["containers"]
    assert {port["containerPort"] for port in node["ports"]} == {
        port["port"] for port in found["Service", "dohle"]["ports"]
    }
    mounted = {mount["name"] for mount in node["volumeMounts"]}
    volumes = {volume["name"] for volume in pods["spec"]["volumes"]}
    claims = {one["metadata"]["name"] for one in found["StatefulSet", "dohle"]["volumeClaimTemplates"]}
    assert mounted == volumes | claims


def test_a_pod_is_a_node_with_a_name_and_number_of_its_own(tmp_path: Path) -> None:
    (node,) = stateful_set()["spec"]["template"]["spec"]["containers"]
    (tmp_path / "dohle").write_text('#!/bin/sh\n[ "$*" = node ] && env\n')
    (tmp_path / "dohle").chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    given = {one["name"]: one["value"] for one in node["env"] if "value" in one}
    for pod in range(3):
        own = {"POD": f"dohle-{pod}", "NAMESPACE": "streams"}
        said = subprocess.run(node["command"], env={**path, **given, **own}, capture_output=True, text=True, check=True)
        config = load_config(None, dict(line.split("=", 1) for line in said.stdout.splitlines())).config
        assert (config.node_id, config.advertised_host) == (pod + 1, f"dohle-{pod}.dohle.streams.svc")
        assert {voter.address.host for voter in config.voters} == {f"dohle-{number}.dohle" for number in range(3)}


def test_a_pod_waits_until_its_folder_is_formatted() -> None:
    (waiting,) = stateful_set()["spec"]["template"]["spec"]["initContainers"]
    script = waiting["command"][-1]
    assert "/data/formatted" in script
    assert "dohle format" not in script
    done = script.replace("/data/formatted", "/")
    assert subprocess.run(["sh", "-c", done], capture_output=True, check=True, timeout=10).stdout == b""
    with pytest.raises(subprocess.TimeoutExpired) as waits:
        subprocess.run(waiting["command"], capture_output=True, check=False, timeout=1)
    assert b"is not formatted" in (waits.value.stdout or b"")


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        lacks("systemd", "systemd-analyze is missing (Debian: apt-get install systemd)")
    unit = (DEPLOY / "systemd" / "dohle.service").read_text()
    assert unit.count("/opt/dohle/bin/dohle") == 1

    def said(text: str) -> str:
        path = tmp_path / "dohle.service"
        path.write_text(text.replace("/opt/dohle/bin/dohle", sys.executable))
        done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
        return "\n".join(line for line in done.stderr.splitlines() if "dohle.service" in line)

    assert said(unit) == ""
    assert "Unknown key" in said(unit.replace("TimeoutStopSec", "TimeoutStopSecs"))


def test_alerts_and_dashboards_are_about_metrics_that_there_are() -> None:
    known = set(_METRIC.findall((ROOT / "docs" / "metrics.md").read_text()))
    alerts = yaml.safe_load((DEPLOY / "compose" / "alerts.yml").read_text())
    asked = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    dashboard = json.loads((DEPLOY / "compose" / "grafana" / "dashboards" / "dohle.json").read_text())
    asked += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(asked) > 25
    for expression in asked:
        metrics = set(_METRIC.findall(expression))
        assert metrics, expression
        assert metrics <= known, expression


def test_prometheus_is_told_of_every_node_and_file() -> None:
    compose = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())
    config = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    nodes = [name for name in compose["services"] if name.startswith("dohle-")]
    assert job["static_configs"] == [{"targets": [f"{name}:8092" for name in nodes]}]
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            if volume.startswith("./"):
                assert (DEPLOY / "compose" / volume.partition(":")[0]).exists(), volume
