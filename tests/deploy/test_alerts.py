"""deploy/alerts.yml: what fires and what does not, as Prometheus itself evaluates it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.manifests import DEPLOY, POD_MONITOR, container, of_kind, pods

RULES = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is part of Debian's package prometheus"
)


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@needs_promtool
def test_the_rules_fire_when_they_should() -> None:
    ran = promtool("test", "rules", Path(__file__).with_name("alerts.yml"))
    assert ran.returncode == 0, ran.stdout + ran.stderr


@needs_promtool
def test_a_rule_with_another_threshold_fails_its_test(tmp_path: Path) -> None:
    """The test file can fail: with 0.9 in place of 0.05 nothing fires for 10 % of refusals."""
    rules = (DEPLOY / "alerts.yml").read_text()
    assert "> 0.05" in rules
    (tmp_path / "rules.yml").write_text(rules.replace("> 0.05", "> 0.9"))
    tests = Path(__file__).with_name("alerts.yml").read_text()
    changed = tests.replace("../../deploy/alerts.yml", str(tmp_path / "rules.yml"))
    (tmp_path / "tests.yml").write_text(changed)
    assert promtool("test", "rules", tmp_path / "tests.yml").returncode != 0


@needs_promtool
def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    for name in ("prometheus.yml", "alerts.yml"):
        shutil.copy(DEPLOY / name, tmp_path)
    ran = promtool("check", "config", tmp_path / "prometheus.yml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{len(RULES)} rules found" in ran.stdout


@pytest.mark.parametrize(
    ("alert", "panel"),
    [("ShipchipSlow", "Queue time"), ("ShipchipUnlikeTraining", "Share out of distribution")],
)
def test_the_dashboard_turns_red_where_the_alert_fires(alert: str, panel: str) -> None:
    (rule,) = [rule for rule in RULES if rule["alert"] == alert]
    panels = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
    (drawn,) = [p for p in panels if p["title"] == panel]
    steps = drawn["fieldConfig"]["defaults"]["thresholds"]["steps"]
    limit = re.search(r"> ([\d.]+)", rule["expr"])
    assert limit is not None
    assert (steps[-1]["color"], steps[-1]["value"]) == ("red", float(limit.group(1)))


def test_the_pod_monitor_selects_the_pods_of_the_service() -> None:
    monitor = yaml.safe_load(POD_MONITOR.read_text())["spec"]
    pod = pods()["Deployment"]
    assert monitor["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in container(pod)["ports"]}
    assert endpoint["path"] == pod["metadata"]["annotations"]["prometheus.io/path"]


def test_the_ingress_leads_to_the_service_and_not_to_its_metrics() -> None:
    (rule,) = of_kind("Ingress")["spec"]["rules"]
    paths = rule["http"]["paths"]
    service = of_kind("Service")
    for path in paths:
        backend = path["backend"]["service"]
        assert backend["name"] == service["metadata"]["name"]
        assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    assert ("/", "Exact") in {(path["path"], path["pathType"]) for path in paths}
    assert not any(path["path"] in ("/metrics", "/livez", "/readyz") for path in paths)
