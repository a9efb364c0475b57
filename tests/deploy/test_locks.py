"""A lock installs what it names, whatever has been published since it was written."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.deploy.manifests import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages: a, which requires b with an extra, and b, old and new."""
    folder = tmp_path_factory.mktemp("published")
    write_wheel(folder, "a", "1.0", "Requires-Dist: b[x]>=1")
    write_wheel(folder, "b", "1.0", "Provides-Extra: x")
    write_wheel(folder, "b", "2.0", "Provides-Extra: x")
    return folder


def write_wheel(folder: Path, name: str, version: str, metadata: str) -> None:
    info = f"{name}-{version}.dist-info"
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"{head}{metadata}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, content in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, content)


def pins(published: Path, *wheels: str) -> str:
    """The lines of a lock that pins these wheels, each `name-version`."""
    lines = []
    for wheel in wheels:
        content = (published / f"{wheel}-py3-none-any.whl").read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        lines.append(f"{wheel.replace('-', '==')} --hash=sha256:{digest}\n")
    return "".join(lines)


def run(
    published: Path, folder: Path, *command: str | Path, expected: int = 0
) -> subprocess.CompletedProcess[str]:
    """`command`, for which pip's index is the folder `published`."""
    ours = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(published), "PIP_CONFIG_FILE": os.devnull}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "MAKE", "MFLAGS"))}
    done = subprocess.run(
        command, cwd=folder, env=kept | ours, capture_output=True, text=True, check=False
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done


def version_of_b(environment: Path) -> str:
    (info,) = environment.glob("lib/python3.*/site-packages/b-*.dist-info")
    return info.name


def test_make_installs_the_locked_version_with_the_pip_that_python_bundles(
    published: Path, tmp_path: Path
) -> None:
    (tmp_path / "locks").mkdir()
    for name in ("Makefile", "pyproject.toml", "locks/install.sh"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    (tmp_path / "locks" / "dev-cpu.txt").write_text(pins(published, "a-1.0", "b-1.0"))
    make = ("make", "KIND=cpu", f"PYTHON={sys.executable}", ".venv/dev/.locked-cpu")
    run(published, tmp_path, *make)
    assert version_of_b(tmp_path / ".venv" / "dev") == "b-1.0.dist-info"


def test_make_dev_makes_the_environment_and_nothing_else(published: Path, tmp_path: Path) -> None:
    """README and the model's page send people to it, who want no tests."""
    for name in ("Makefile", "pyproject.toml", "locks/install.sh", "locks/dev-cpu.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    done = run(published, tmp_path, "make", "--dry-run", "KIND=cpu", "dev")
    made = done.stdout.splitlines()
    assert "sh locks/install.sh locks/dev-cpu.txt .venv/dev/bin/python -m pip" in made
    assert made[-1] == "touch .venv/dev/.installed-cpu"
    assert not [line for line in made if "pytest" in line or "mypy" in line or "ruff" in line]


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An environment without pip, as the image has one."""
    run(tmp_path, tmp_path, sys.executable, "-m", "venv", "--without-pip", "environment")
    return tmp_path / "environment"


def install(environment: Path) -> tuple[str | Path, ...]:
    """The image's command, but that pip is the one locked for development: the newest."""
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin" / "python")
    return ("sh", ROOT / "locks" / "install.sh", "lock.txt", *pip)


def test_the_newest_pip_installs_the_locked_version_into_another_environment(
    published: Path, tmp_path: Path, environment: Path
) -> None:
    (tmp_path / "lock.txt").write_text(pins(published, "a-1.0", "b-1.0"))
    run(published, tmp_path, *install(environment))
    assert version_of_b(environment) == "b-1.0.dist-info"


def test_a_lock_that_lacks_a_package_is_an_error_that_names_it(
    published: Path, tmp_path: Path, environment: Path
) -> None:
    (tmp_path / "lock.txt").write_text(pins(published, "a-1.0"))
    done = run(published, tmp_path, *install(environment), expected=1)
    assert "a 1.0 requires b, which is not installed" in done.stdout
