"""The files of deploy/, read."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
PATCH = KUBERNETES / "gpu" / "deployment.yaml"
# Read by kustomize and by Helm; Kubernetes itself never sees them.
NO_OBJECTS = {"kustomization.yaml", "adapter-values.yaml"}
# A custom resource of the Prometheus operator: the validator has no schema of it.
POD_MONITOR = KUBERNETES / "examples" / "podmonitor.yaml"

Object = dict[str, Any]


def objects() -> dict[Path, Object]:
    """Every Kubernetes object, one a file; not the patch and not the PodMonitor."""
    files = sorted(KUBERNETES.rglob("*.yaml"))
    left_out = (PATCH, POD_MONITOR)
    found = [file for file in files if file.name not in NO_OBJECTS and file not in left_out]
    return {file: yaml.safe_load(file.read_text()) for file in found}


def of_kind(kind: str) -> Object:
    """The only object of that kind."""
    (found,) = [thing for thing in objects().values() if thing["kind"] == kind]
    return found


def pods() -> dict[str, Object]:
    """The pod templates by kind of what makes pods of them."""
    return {kind: of_kind(kind)["spec"]["template"] for kind in ("Deployment", "Job")}


def container(pod: Object) -> Object:
    """The only container of a pod template."""
    (found,) = pod["spec"]["containers"]
    return found


def compose() -> Object:
    """The compose file."""
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())
