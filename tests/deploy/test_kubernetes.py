"""deploy/kubernetes: valid objects that fit one another, and pods that may do little."""

import os
import shutil
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate.utils import ValidationError, all_versions, major_minor, validate

from tests.deploy.manifests import KUBERNETES, PATCH, Object, container, objects, of_kind, pods

OLDEST = (1, 30)  # the first with `preStop.sleep` switched on
VERSIONS = [v for v in all_versions() if tuple(map(int, v.split(".")[:2])) >= OLDEST]
NAMED = {str(file.relative_to(KUBERNETES)): thing for file, thing in objects().items()}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", NAMED)
def test_every_object_is_valid_and_has_no_unknown_key(name: str, version: str) -> None:
    assert validate(NAMED[name], version, strict=True) == major_minor(version)


@pytest.mark.parametrize("change", [{"replica": 1}, {"selector": "shipchip"}, {"replicas": "two"}])
def test_the_validator_sees_faults(change: dict[str, Any]) -> None:
    wrong = deepcopy(of_kind("Deployment"))
    wrong["spec"] |= change
    with pytest.raises(ValidationError):
        validate(wrong, VERSIONS[-1], strict=True)


def test_kustomize_lists_every_file() -> None:
    for folder in ("base", "gpu"):
        reported = yaml.safe_load((KUBERNETES / folder / "kustomization.yaml").read_text())
        named = [*reported["resources"], *(patch["path"] for patch in reported.get("patches", []))]
        there = {file.name for file in (KUBERNETES / folder).glob("*.yaml")}
        assert there - {"kustomization.yaml"} == {name for name in named if "/" not in name}
    assert [name for name in reported["resources"] if "/" in name] == ["../base"]


def test_the_gpu_patch_changes_the_deployment_and_its_container() -> None:
    """Under another name it would add a second container, or nothing."""
    patch, base = yaml.safe_load(PATCH.read_text()), of_kind("Deployment")
    assert (patch["kind"], patch["metadata"]) == (base["kind"], {"name": base["metadata"]["name"]})
    changed = container(patch["spec"]["template"])
    assert changed["name"] == container(pods()["Deployment"])["name"]
    assert changed["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"name": "SHIPCHIP_DEVICE", "value": "cuda"} in changed["env"]


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kustomize is part of kubectl")
@pytest.mark.parametrize("folder", ["base", "gpu"])
def test_what_kustomize_makes_of_them_is_valid(folder: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        ["kubectl", "kustomize", KUBERNETES / folder],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    made = list(yaml.safe_load_all(ran.stdout))
    assert len(made) == len(list((KUBERNETES / "base").glob("*.yaml"))) - 1
    for thing in made:
        validate(thing, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_a_pod_may_do_little(kind: str) -> None:
    pod = pods()[kind]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    only = container(pods()[kind])
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= set(only["resources"]["requests"])
    assert "memory" in only["resources"]["limits"]


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_tmp_can_be_written_and_has_a_bound(kind: str) -> None:
    volumes = {volume["name"]: volume for volume in pods()[kind]["spec"]["volumes"]}
    mounts = {m["mountPath"]: m["name"] for m in container(pods()[kind])["volumeMounts"]}
    assert set(mounts.values()) == set(volumes)
    assert volumes[mounts["/tmp"]]["emptyDir"]["sizeLimit"]


def test_probes_ask_what_they_should() -> None:
    only = container(pods()["Deployment"])
    asked = {kind: only[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
    assert {kind: probe["path"] for kind, probe in asked.items()} == {
        "startup": "/readyz",
        "readiness": "/readyz",
        "liveness": "/livez",
    }
    assert {probe["port"] for probe in asked.values()} == {port["name"] for port in only["ports"]}


def test_what_was_accepted_is_answered_before_a_pod_is_killed() -> None:
    pod = pods()["Deployment"]["spec"]
    (limit,) = [
        e["value"] for e in container(pods()["Deployment"])["env"] if "TIMEOUT" in e["name"]
    ]
    pause = container(pods()["Deployment"])["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= int(limit) + pause + 5


def test_service_budget_and_autoscaler_mean_the_pods_of_the_deployment() -> None:
    deployment, labels = of_kind("Deployment"), pods()["Deployment"]["metadata"]["labels"]
    service = of_kind("Service")["spec"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["selector"].items() <= labels.items()
    (port,) = service["ports"]
    assert port["targetPort"] in {p["name"] for p in container(pods()["Deployment"])["ports"]}
    budget = of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    assert budget.items() <= labels.items()
    scaled = of_kind("HorizontalPodAutoscaler")["spec"]
    name = {"kind": "Deployment", "name": deployment["metadata"]["name"], "apiVersion": "apps/v1"}
    assert scaled["scaleTargetRef"] == name
    assert "replicas" not in deployment["spec"]  # an apply would undo the autoscaler


def test_batch_pods_get_no_requests() -> None:
    labels = pods()["Job"]["metadata"]["labels"]
    assert not of_kind("Service")["spec"]["selector"].items() <= labels.items()


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_nothing_goes_out(kind: str) -> None:
    policy = of_kind("NetworkPolicy")["spec"]
    labels = pods()[kind]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["egress"] == []


def test_the_annotations_name_the_port_of_metrics() -> None:
    pod = pods()["Deployment"]
    (port,) = container(pod)["ports"]
    notes = pod["metadata"]["annotations"]
    assert notes["prometheus.io/port"] == str(port["containerPort"])
    assert notes["prometheus.io/path"] == "/metrics"


def run_job(index: int, status: int, folder: Path) -> tuple[list[str], int]:
    """The job's command with a `python` that keeps its arguments and ends with `status`."""
    only: Object = container(pods()["Job"])
    fixed = {e["name"]: e["value"] for e in only["env"] if "value" in e}
    said = folder / "said"
    fake = folder / "python"
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {said}\nexit {status}\n')
    fake.chmod(0o755)
    env = {
        **fixed,
        "WORKERS": "4",
        "JOB_COMPLETION_INDEX": str(index),
        "PATH": f"{folder}:{os.environ['PATH']}",
    }
    ran = subprocess.run(only["args"], env=env, check=False)
    return said.read_text().splitlines(), ran.returncode


def test_shards_count_from_1_to_the_number_of_completions(tmp_path: Path) -> None:
    job = of_kind("Job")["spec"]
    assert job["completionMode"] == "Indexed"
    of = job["completions"]
    for index, shard in ((0, 1), (of - 1, of)):
        words, _ = run_job(index, 0, tmp_path)
        assert words[:3] == ["-m", "serving.batch", "/chips"]
        assert words[words.index("--workers") + 1] == "4"
        assert words[words.index("--shard") + 1] == f"{shard}/{of}"
        assert words[words.index("--out") + 1] == f"/answers/shard-{shard}.csv"


@pytest.mark.parametrize(("status", "reported"), [(0, 0), (1, 0), (2, 2), (137, 137)])
def test_a_shard_with_bad_chips_is_done_and_others_keep_their_status(
    status: int, reported: int, tmp_path: Path
) -> None:
    assert run_job(0, status, tmp_path)[1] == reported
    (rule,) = of_kind("Job")["spec"]["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["values"] == [2]
    assert rule["onExitCodes"]["containerName"] == container(pods()["Job"])["name"]


def test_the_job_takes_the_cores_that_it_asked_for() -> None:
    given = {e["name"]: e.get("valueFrom") for e in container(pods()["Job"])["env"]}
    assert given["WORKERS"] == {"resourceFieldRef": {"resource": "requests.cpu"}}


def test_what_the_job_writes_to_is_not_what_it_reads() -> None:
    mounts = {m["mountPath"]: m for m in container(pods()["Job"])["volumeMounts"]}
    assert mounts["/chips"]["readOnly"] is True
    assert "readOnly" not in mounts["/answers"]
