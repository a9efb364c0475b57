"""What the forge and pre-commit run is there, and is what everybody runs."""

import re
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
JOBS: dict[str, dict[str, Any]] = WORKFLOW["jobs"]


def commands(job: str) -> list[str]:
    return [step["run"] for step in JOBS[job]["steps"] if "run" in step]


def called(job: str) -> set[str]:
    return {target for run in commands(job) for target in re.findall(r"\bmake ([a-z-]+)", run)}


def test_every_target_that_is_called_is_in_the_makefile() -> None:
    everything = {target for job in JOBS for target in called(job)}
    assert everything >= {"dev", "lint", "test", "lock", "image"}
    assert everything <= TARGETS


def test_the_tests_run_on_every_python_that_is_supported() -> None:
    assert JOBS["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert called("test") == {"test"}


def test_both_ends_of_the_dependencies_are_tried_by_the_same_targets() -> None:
    """uv reads UV_RESOLUTION; `make lock` writes what it finds, `make test` installs that."""
    job = JOBS["dependencies"]
    assert job["strategy"]["matrix"]["resolution"] == ["lowest-direct", "highest"]
    assert job["env"] == {"UV_RESOLUTION": "${{ matrix.resolution }}"}
    assert [run.split()[1] for run in commands("dependencies") if "make" in run] == ["lock", "test"]
    assert "UV_RESOLUTION" not in MAKEFILE
    assert "--resolution" not in MAKEFILE


def test_serving_is_tried_without_any_other_extra() -> None:
    installs = [run for run in commands("serving-alone") if "pip install" in run]
    assert installs == ["python -m pip install -e '.[cpu]'"]
    assert commands("serving-alone")[-1] == "python -m tests.deploy.smoke"


def test_the_image_is_built_and_tried_as_everywhere() -> None:
    assert called("image") == {"image", "dev"}
    (step,) = [step for step in JOBS["image"]["steps"] if "pytest" in step.get("run", "")]
    assert step["run"].split()[-1] == "tests/image"
    assert step["env"] == {"SHIPCHIP_BUILD_IMAGE": "docker"}
    assert (ROOT / "tests" / "image").is_dir()


def test_the_workflow_may_only_read_and_ends() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 90 for job in JOBS.values())
    # YAML 1.1 reads `on` as true.
    assert {"push", "pull_request"} <= set(WORKFLOW[True])


def test_actions_are_pinned_to_a_major_version() -> None:
    used = [step["uses"] for job in JOBS.values() for step in job["steps"] if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", action)


@pytest.mark.parametrize("hook", ["ruff check --fix", "ruff format"])
def test_pre_commit_takes_ruff_from_the_project_itself(hook: str) -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repo["repo"] == "local"
    (found,) = [h for h in repo["hooks"] if h["entry"] == f".venv/dev/bin/{hook}"]
    assert found["language"] == "system"
    assert "python" in found["types_or"]
