"""Which TIFFs a scene is: one, or the measurements of a Sentinel-1 product (SAFE)."""

import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from shipchip.errors import Corrupt, NotFound, Unreadable

_MEASUREMENT = re.compile(r"(?:^|/)measurement/[^/]+\.tiff?$", re.IGNORECASE)
_POLARISATION = re.compile(r"(?:^|[-_.])(vv|vh|hh|hv)(?=[-_.])", re.IGNORECASE)


@dataclass(frozen=True)
class Measurement:
    """One TIFF of a scene.

    path    of the TIFF, or of the zip that `member` is in
    """

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}/{self.member}"

    @property
    def gdal_path(self) -> Path | str:
        """What GDAL opens. A Path is never taken for an address."""
        path = self.path.resolve()
        return path if self.member is None else f"/vsizip/{{{path}}}/{self.member}"

    @property
    def polarisation(self) -> str | None:
        """By the file's name."""
        found = _POLARISATION.search((self.member or self.path.name).rpartition("/")[2])
        return found[1].upper() if found else None


def measurements(path: Path) -> list[Measurement]:
    """The scene itself, or a product's measurements, VV before VH.

    Raises NotFound, Unreadable, or Corrupt for a damaged zip.
    """
    mode = _mode(path)
    if stat.S_ISDIR(mode):
        found = [Measurement(one) for one in path.rglob("*") if _MEASUREMENT.search(one.as_posix())]
    elif not stat.S_ISREG(mode):
        raise Unreadable(f"{path} is no regular file; expected a GeoTIFF")
    elif zipfile.is_zipfile(path):
        found = [Measurement(path, name) for name in _members(path) if _MEASUREMENT.search(name)]
    else:
        return [Measurement(path)]
    if not found:
        raise Unreadable(f"{path} has no measurement/*.tiff; expected a Sentinel-1 GRD product")
    return sorted(found, key=lambda one: (one.polarisation or "") + str(one), reverse=True)


def stamps_of(path: Path) -> tuple[tuple[int, int], ...]:
    """(bytes, time of modification in ns) of each file of a scene; NotFound, Unreadable.

    They change if one is replaced.
    """
    files = [one.path for one in measurements(path)] if stat.S_ISDIR(_mode(path)) else [path]
    status = [file.stat() for file in files]
    return tuple((one.st_size, one.st_mtime_ns) for one in status)


@contextmanager
def content_of(measurement: Measurement) -> Iterator[tuple[BinaryIO, int]]:
    """The TIFF, open to be read, and its bytes. Unreadable or Corrupt if that is not possible."""
    try:
        if measurement.member is None:
            with measurement.path.open("rb") as file:
                yield file, measurement.path.stat().st_size
        else:
            with (
                zipfile.ZipFile(measurement.path) as archive,
                archive.open(measurement.member) as member,
            ):
                yield cast(BinaryIO, member), archive.getinfo(measurement.member).file_size
    # zipfile raises NotImplementedError for a compression that it does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise Corrupt(f"{measurement}: {error}; fetch it again") from error
    except OSError as error:
        raise Unreadable(f"cannot read {measurement}: {error.strerror or error}") from error


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError) as error:
        raise NotFound(
            f"no scene at {path}; expected a GeoTIFF, or a SAFE folder or zip, on this machine"
        ) from error


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise Corrupt(f"the zip {path} cannot be read: {error}; fetch it again") from error
