"""What the forge and pre-commit call is there and does what it is called for."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import ROOT

JOBS: dict[str, dict[str, Any]] = yaml.safe_load(
    (ROOT / ".github" / "workflows" / "ci.yml").read_text()
)["jobs"]
COMMANDS = [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step]
HOOKS: list[dict[str, Any]] = [
    hook
    for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in repo["hooks"]
]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_make_knows_what_the_forge_calls(command: str) -> None:
    """--dry-run fails where a target or what it is made from is not there."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        [*command.split("#", maxsplit=1)[0].split(), "--dry-run", "KIND=cpu"],
        cwd=ROOT,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_folder_of_tests_that_the_forge_names_is_there() -> None:
    named = [word for c in COMMANDS for word in re.findall(r"\btests[/.][\w./]+", c)]
    assert named
    for word in named:
        path = ROOT / word.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), word


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_pre_commit_hook_mends_a_file(hook: dict[str, Any], tmp_path: Path) -> None:
    """Its program is that of the environment of `make dev`, as is this test's."""
    program, *options = hook["entry"].split()
    own = Path(sys.executable).parent / Path(program).relative_to(".venv/dev/bin")
    file = tmp_path / "a.py"
    file.write_text("import os\nx=1\n")
    subprocess.run([own, *options, file], check=True, capture_output=True)
    assert file.read_text() in ("x=1\n", "import os\n\nx = 1\n")
