"""How many processor cores this process may use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path


def usable_cores(cgroups: Path = Path("/sys/fs/cgroup"), process: Path = Path("/proc/self")) -> int:
    """Cores in the CPU affinity of this process, or fewer if a control group has a CPU quota.

    `docker run --cpus 2` and a Kubernetes CPU limit are such quotas: they limit processor time, not
    which cores run, so the affinity still shows every core of the machine. A quota of 1.5 cores
    counts as 2: the second thread would only be throttled now and then.

    cgroups  where control groups are mounted (version 2, or the `cpu` controller of version 1)
    process  the folder of this process in /proc
    """
    cores = len(os.sched_getaffinity(0))
    return max(1, min([cores, *(math.ceil(quota) for quota in _quotas(cgroups, process))]))


def _quotas(cgroups: Path, process: Path) -> Iterator[float]:
    """CPU quotas in cores, of the group of the process and of all groups above it."""
    for line in _text(process / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root = cgroups
        elif "cpu" in controllers.split(","):
            root = cgroups / "cpu"
        else:
            continue
        group = root / path.lstrip("/")
        # Inside a container the path may be that of the host, which is not mounted there.
        for folder in (group, *group.parents):
            yield from _quota(folder)
            if folder == root:
                break


def _quota(group: Path) -> Iterator[float]:
    """The quota of one group: of version 2 `cpu.max`, of version 1 two files; none if unlimited."""
    quota, _, period = _text(group / "cpu.max").partition(" ")
    if not quota:
        quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
    if quota.strip() not in ("", "max", "-1"):
        yield int(quota) / int(period)


def _text(file: Path) -> str:
    """The content of a file; "" if there is none, as on a system without control groups."""
    try:
        return file.read_text()
    except OSError:
        return ""
