"""Which sources the given paths hold, so that naming a folder is all a user has to do."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from training.errors import DataInvalid, DataMissing
from training.sources.archive import Archive, children, is_archive_name
from training.sources.folder import SUFFIXES, FolderSource, top_folders
from training.sources.fusar import FusarSource
from training.sources.opensarship import OpenSarShipScene, OpenSarShipSource
from training.sources.record import CLASSES, Source

WHAT_TO_DOWNLOAD = """\
Put one or more of these, as downloaded, anywhere under one folder and name that folder, or name \
them:
  FUSAR-Ship 1.0   FUSAR_Ship1.0.zip, or the folder it unpacks to (doi 10.1007/s11432-019-2772-5)
  OpenSARShip 1/2  scene archives S1A_IW_*.zip and .rar, or their folders
                   (doi 10.1109/JSTARS.2017.2755672)
  your own chips   a folder or zip with the folders Cargo/ Fishing/ Tanker/ (PNG, JPEG, TIFF, .npy)
To try everything without a download: python -m training.run --simulated --smoke"""

# What browsers and download programs call a file that is not all there yet.
UNFINISHED_SUFFIXES = (".part", ".partial", ".crdownload", ".download", ".aria2")


def discover(paths: list[Path]) -> list[Source]:
    """Sources in the given folders and archives, sorted by name.

    What is reached twice, by a path given twice or inside another, is one source. Raises
    DataMissing, saying what is there instead and what to download, where a path holds none;
    DataInvalid for an unfinished or damaged download, and for two sources of one name.
    """
    for path in paths:
        if not path.exists():
            raise DataMissing(f"no such file or folder: {path}.\n{WHAT_TO_DOWNLOAD}")
    seen: set[Path] = set()
    reached = [path for given in paths for path in _walk(given, seen)]
    idle = [path for path in paths if not any(_overlap(path, other) for other in reached)]
    if idle or not paths:
        there = "; ".join(_what_is_there(path) for path in idle) or "no path was given"
        raise DataMissing(f"no SAR ship chips found: {there}.\n{WHAT_TO_DOWNLOAD}")
    return _unique(reached)


def _unique(paths: list[Path]) -> list[Source]:
    """The sources at these paths, by name; DataInvalid where two have one name, because records
    tell their source by it."""
    found: list[tuple[Source, Path]] = []
    scenes = [path for path in paths if OpenSarShipScene.recognises(path)]
    if scenes:
        found.append((OpenSarShipSource(scenes), scenes[0].parent))
    for path in paths:
        if path not in scenes:
            known = FusarSource.recognises(path)
            found.append((FusarSource(path) if known else FolderSource(path), path))
    found.sort(key=lambda source_path: source_path[0].name)
    for (one, first), (other, second) in pairwise(found):
        if one.name == other.name:
            raise DataInvalid(
                f"two sources are named {one.name}: {first} and {second}; give or keep one of "
                "them, or rename one"
            )
    return [source for source, _ in found]


def _overlap(one: Path, other: Path) -> bool:
    """Whether the paths are the same, or one lies in the other."""
    one, other = one.resolve(), other.resolve()
    return one == other or one in other.parents or other in one.parents


def _walk(path: Path, seen: set[Path]) -> Iterator[Path]:
    """Archives and folders that are a source, outermost first; never one inside another."""
    real = path.resolve()
    if real in seen:
        return
    seen.add(real)
    if _is_unfinished(path):
        raise DataInvalid(f"{path} is an unfinished download; let it finish, or delete it")
    kinds = (OpenSarShipScene, FusarSource, FolderSource)
    if any(kind.recognises(path) for kind in kinds):
        yield path
    elif path.is_dir():
        for child in children(path):
            if child.is_dir() or is_archive_name(child) or _is_unfinished(child):
                yield from _walk(child, seen)
    elif is_archive_name(path):
        _refuse_archives_inside(path)


def _is_unfinished(path: Path) -> bool:
    return path.name.lower().endswith(UNFINISHED_SUFFIXES)


def _refuse_archives_inside(path: Path) -> None:
    """DataInvalid for an archive of archives, as a whole OpenSARShip folder is handed on."""
    inside = [name for name in Archive(path).names if is_archive_name(Path(name))]
    if inside:
        raise DataInvalid(
            f"{path} holds {len(inside)} archives, the first is {inside[0]}; unpack the outer one "
            "(not those inside) and give its folder"
        )


def _what_is_there(path: Path) -> str:
    """What a path without a source holds, in the words of what was expected."""
    if not (path.is_dir() or is_archive_name(path)):
        return f"{path} is a file, expected a folder, .zip or .rar"
    if path.resolve().name in CLASSES:
        return f"{path} is one class folder; give the folder above it"
    tops = sorted(top_folders(path))
    if tops:
        return f"{path} holds {_what_folders_are(tops)}"
    loose = path.is_dir() and sum(p.suffix.lower() in SUFFIXES for p in children(path))
    if loose:
        return f"{path} holds {loose} chips outside class folders, so their classes are not known"
    return f"{path} holds nothing that is read"


def _what_folders_are(tops: list[str]) -> str:
    """Why folders of these names are no data set."""
    ours = [top for top in tops if top in CLASSES]
    if ours:
        return f"the class folder {ours[0]} only; at least two are needed"
    cased = [top for top in tops if top.title() in CLASSES]
    if cased:
        return f"{cased[0]}; class folders are spelt {', '.join(CLASSES)}"
    if "Patch" in tops:
        return "Patch, but is not named as its scene (S1A_IW_…); rename it so"
    return f"the folders {', '.join(tops[:5])}, none of them a data set"
