"""serving.cores: the quota of a container counts, not the cores of the machine."""

import os
from pathlib import Path

import pytest

from serving.cores import usable_cores

MACHINE = 16


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(MACHINE)))


def cores(folder: Path, membership: str, files: dict[str, str]) -> int:
    """usable_cores where the process is in the groups `membership` and the files are `files`."""
    (folder / "proc").mkdir()
    (folder / "proc" / "cgroup").write_text(membership)
    for name, text in files.items():
        file = folder / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return usable_cores(folder / "cgroup", folder / "proc")


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("50000 100000\n", 1),
        ("max 100000\n", MACHINE),
        ("6400000 100000\n", MACHINE),
    ],
)
def test_a_quota_of_cgroups_version_2_counts(tmp_path: Path, limit: str, expected: int) -> None:
    assert cores(tmp_path, "0::/\n", {"cpu.max": limit}) == expected


def test_the_smallest_quota_on_the_way_to_the_root_counts(tmp_path: Path) -> None:
    files = {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}
    assert cores(tmp_path, "0::/a/b\n", files) == 3


def test_a_path_of_the_host_that_is_not_mounted_leads_to_the_root(tmp_path: Path) -> None:
    assert cores(tmp_path, "0::/kubepods/pod1\n", {"cpu.max": "400000 100000"}) == 4


def test_a_quota_of_cgroups_version_1_counts(tmp_path: Path) -> None:
    files = {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert cores(tmp_path, "4:memory:/\n3:cpu,cpuacct:/\n", files) == 2


def test_an_unlimited_group_of_version_1_has_all_cores(tmp_path: Path) -> None:
    files = {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert cores(tmp_path, "3:cpu,cpuacct:/\n", files) == MACHINE


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "none", tmp_path / "none") == MACHINE
