"""deploy/ and the documents agree with the image, the settings and the metrics."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from serving.metrics import ModelMetrics, RequestMetrics
from serving.settings import Settings
from tests.deploy.manifests import (
    DEPLOY,
    KUBERNETES,
    ROOT,
    compose,
    container,
    of_kind,
    pods,
)
from tests.tiny_model import tiny_card

DOCKERFILE = (ROOT / "Dockerfile").read_text()
SETTINGS = {f"SHIPCHIP_{name.upper()}" for name in Settings.model_fields}
# Of tests, not of the service.
OTHER_VARIABLES = {"SHIPCHIP_DATA", "SHIPCHIP_BUILD_IMAGE"}
FILES = sorted(
    [
        *DEPLOY.rglob("*.y*ml"),
        *DEPLOY.rglob("*.json"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / ".github").rglob("*.yml"),
        ROOT / "Dockerfile",
        ROOT / "README.md",
        ROOT / "SECURITY.md",
    ]
)


@pytest.fixture(scope="module")
def families() -> dict[str, str]:
    """Family -> type of all metrics of ours, from the objects that a worker makes."""
    registry = CollectorRegistry()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving.metrics.CollectorRegistry", lambda: registry)
        RequestMetrics()
        worker = ModelMetrics(
            tiny_card(training={"sources": {"own": {"Cargo": {"train": 1}}}}), "sha256", "provider"
        )
    predicted = 'shipchip_predictions_total{in_distribution="true",label="Cargo"} 1.0\n'
    derived = text_string_to_metric_families(worker.derived(predicted))
    found = [*registry.collect(), *derived]
    return {family.name: family.type for family in found if family.type != "unknown"}


@pytest.fixture(scope="module")
def exposed(families: dict[str, str]) -> set[str]:
    """Every series that /metrics has of them."""
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return {name + end for name, kind in families.items() for end in endings.get(kind, ("",))}


def test_ports_are_the_one_that_the_image_exposes() -> None:
    (port,) = re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.M)
    assert [p["containerPort"] for p in container(pods()["Deployment"])["ports"]] == [int(port)]
    assert [p.rpartition(":")[2] for p in compose()["services"]["shipchip"]["ports"]] == [port]
    (allowed,) = of_kind("NetworkPolicy")["spec"]["ingress"]
    assert allowed["ports"] == [{"port": int(port)}]
    (scrape,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": [f"shipchip:{port}"]}]


def test_the_user_is_the_one_of_the_image() -> None:
    ((uid, gid),) = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.M)
    for pod in pods().values():
        context = pod["spec"]["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"]) == (int(uid), int(gid))


def test_the_image_starts_its_command_by_an_entry_point_that_the_job_keeps() -> None:
    assert re.search(r'^ENTRYPOINT \["tini", "--"\]$', DOCKERFILE, re.M)
    assert "command" not in container(pods()["Job"])


def test_the_image_checks_its_health_so_that_compose_need_not() -> None:
    assert re.search(r"^HEALTHCHECK ", DOCKERFILE, re.M)
    assert "healthcheck" not in compose()["services"]["shipchip"]


def test_the_image_is_built_by_arguments_that_it_has() -> None:
    build = compose()["services"]["shipchip"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    for name in build["args"]:
        assert re.search(rf"^ARG {name}\b", DOCKERFILE, re.M)


def test_every_variable_that_is_named_is_a_setting() -> None:
    for file in FILES:
        named = set(re.findall(r"SHIPCHIP_[A-Z0-9_]*[A-Z0-9]\b", file.read_text()))
        assert named <= SETTINGS | OTHER_VARIABLES, file


def test_every_metric_that_is_named_is_exposed(families: dict[str, str], exposed: set[str]) -> None:
    made = {adapter_rule()["name"]["as"]}
    for file in FILES:
        asked = set(re.findall(r"\bshipchip_[a-z0-9_]*[a-z0-9]\b", file.read_text()))
        assert asked <= exposed | set(families) | made, file


def test_the_dashboard_asks_by_names_of_series(exposed: set[str]) -> None:
    panels = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
    asked = {t["expr"] for panel in panels for t in panel["targets"]}
    names = {name for expr in asked for name in re.findall(r"\bshipchip_\w+", expr)}
    assert len(names) > 10
    assert names <= exposed


def adapter_rule() -> dict[str, object]:
    (rule,) = yaml.safe_load((KUBERNETES / "adapter-values.yaml").read_text())["rules"]["custom"]
    return rule


def test_the_autoscaler_asks_for_what_the_adapter_makes_of_queue_time(
    families: dict[str, str],
) -> None:
    (metric,) = of_kind("HorizontalPodAutoscaler")["spec"]["metrics"]
    rule = adapter_rule()
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    series = re.match(r"\w+", rule["seriesQuery"]).group()
    assert rule["name"]["matches"] == f"^{series}$"
    assert families[series.removesuffix("_bucket")] == "histogram"
    assert set(rule["resources"]["overrides"]) == {"namespace", "pod"}
    assert rule["metricsQuery"].count("<<.LabelMatchers>>") == 2


@pytest.mark.parametrize("name", ["shipchip", "prometheus", "grafana"])
def test_a_container_of_compose_may_do_little(name: str) -> None:
    service = compose()["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_compose_gives_the_service_its_tmp_and_time_to_end() -> None:
    service = compose()["services"]["shipchip"]
    (tmp,) = service["tmpfs"]
    assert tmp.startswith("/tmp:")
    limit = int(service["environment"]["SHIPCHIP_TIMEOUT_S"])
    assert int(service["stop_grace_period"].removesuffix("s")) >= limit + 10


def test_compose_mounts_files_that_are_there() -> None:
    services = compose()["services"]
    mounts = [v.split(":")[0] for s in services.values() for v in s.get("volumes", [])]
    files = [name for name in mounts if name.startswith("./")]
    assert len(files) == 4
    assert all((DEPLOY / name).exists() for name in files)
    assert {name for name in mounts if not name.startswith("./")} == set(compose()["volumes"])


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    (source,) = provisioned("datasources/prometheus.yml")["datasources"]
    assert (source["url"], source["type"]) == ("http://prometheus:9090", "prometheus")
    (provider,) = provisioned("dashboards/shipchip.yml")["providers"]
    mounts = [volume.split(":") for volume in compose()["services"]["grafana"]["volumes"]]
    places = {name: Path(place) for name, place, *_ in mounts}
    assert places["./grafana.json"].parent == Path(provider["options"]["path"])
    home = compose()["services"]["grafana"]["environment"]
    assert home["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == str(places["./grafana.json"])


def provisioned(name: str) -> dict[str, list[dict[str, object]]]:
    return yaml.safe_load((DEPLOY / "grafana-provisioning" / name).read_text())


def images() -> set[str]:
    files = [file for file in FILES if file.suffix == ".yaml"]
    return {i for f in files for i in re.findall(r"^ +image: (\S+)$", f.read_text(), re.M)}


def test_our_images_are_those_that_make_image_builds() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    # `make image` calls another builder as: PROGRAM CONTEXT IMAGE BUILD-ARGUMENTS.
    built = subprocess.run(
        ["make", "--silent", "image"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "SHIPCHIP_BUILD_IMAGE": "echo"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert built.split()[:2] == [".", f"shipchip:{version}"]
    ours = {image for image in images() if image.startswith("shipchip")}
    assert ours == {f"shipchip:{version}", f"shipchip:{version}-gpu"}
    for file in FILES:
        named = re.findall(r"\bshipchip:([0-9.]+[0-9])", file.read_text())
        assert set(named) <= {version, "3000"}, file


def test_images_of_others_have_a_version_and_no_registry() -> None:
    others = {image for image in images() if not image.startswith("shipchip")}
    assert len(others) == 2
    for image in others:
        assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", image)
