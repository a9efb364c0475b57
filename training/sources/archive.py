"""Files of a data set, read in place: a zip as it is downloaded, or the folder it unpacks to."""

import zipfile
import zlib
from functools import cached_property
from pathlib import Path

from training.errors import DataInvalid, DataMissing


class Archive:
    """Members of a zip or of a folder, by their names with forward slashes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise DataMissing(f"no such archive or folder: {path}")

    @cached_property
    def _zip(self) -> zipfile.ZipFile | None:
        if self.path.is_dir():
            return None
        try:
            return zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataInvalid(
                f"{self.path} cannot be opened as a zip ({error}); is the download complete?"
            ) from error

    @cached_property
    def names(self) -> list[str]:
        """Sorted names of all files."""
        if self._zip is not None:
            return sorted(n for n in self._zip.namelist() if not n.endswith("/"))
        files = (p for p in self.path.rglob("*") if p.is_file())
        return sorted(p.relative_to(self.path).as_posix() for p in files)

    def read(self, name: str) -> bytes:
        """Bytes of one member. Raises DataInvalid where the archive is damaged."""
        try:
            if self._zip is not None:
                return self._zip.read(name)
            return (self.path / name).read_bytes()
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, RuntimeError) as error:
            raise DataInvalid(
                f"{self.path}: {name} cannot be read ({error}); fetch the archive again"
            ) from error
