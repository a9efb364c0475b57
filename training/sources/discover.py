"""Which sources a data folder holds, so that `--data DIR` is all a user has to say."""

from collections.abc import Iterator
from pathlib import Path

from training.errors import DataMissing
from training.sources.folder import FolderSource
from training.sources.fusar import FusarSource
from training.sources.opensarship import OpenSarShipScene, OpenSarShipSource
from training.sources.record import Source

WHAT_TO_DOWNLOAD = """\
Put one or more of these, as downloaded, anywhere under one folder and name it with --data:
  FUSAR-Ship 1.0   FUSAR_Ship1.0.zip, or the folder it unpacks to (doi 10.1007/s11432-019-2772-5)
  OpenSARShip 1/2  scene archives S1A_IW_*.zip, or their folders (doi 10.1109/JSTARS.2017.2755672)
  your own chips   a folder or zip with the folders Cargo/ Fishing/ Tanker/ (PNG, JPEG, TIFF, .npy)
To try everything without a download: python -m training.run --simulated --smoke"""


def discover(folders: list[Path]) -> list[Source]:
    """Sources under the given folders, sorted by name.

    Raises DataMissing, saying what to download and where to put it, where there is none.
    """
    scenes: list[Path] = []
    sources: list[Source] = []
    for folder in folders:
        if not folder.exists():
            raise DataMissing(f"no such folder: {folder}.\n{WHAT_TO_DOWNLOAD}")
        for path in _walk(folder):
            if OpenSarShipScene.recognises(path):
                scenes.append(path)
            elif FusarSource.recognises(path):
                sources.append(FusarSource(path))
            else:
                sources.append(FolderSource(path))
    if scenes:
        sources.append(OpenSarShipSource(scenes))
    if not sources:
        where = ", ".join(str(f) for f in folders) or "no folder"
        raise DataMissing(f"no SAR ship chips found in {where}.\n{WHAT_TO_DOWNLOAD}")
    return sorted(sources, key=lambda source: source.name)


def _walk(path: Path) -> Iterator[Path]:
    """Archives and folders that are a source, outermost first; never one inside another."""
    kinds = (OpenSarShipScene, FusarSource, FolderSource)
    if any(kind.recognises(path) for kind in kinds):
        yield path
    elif path.is_dir():
        for child in sorted(path.iterdir()):
            if child.is_dir() or child.suffix == ".zip":
                yield from _walk(child)
