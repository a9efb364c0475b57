"""Which sources the given paths hold, so that naming a folder is all a user has to do."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath, PurePosixPath

from shipchip.opensarship import scene_of
from training.data.archive import Archive, children, is_dataset_archive, located
from training.data.class_folders import SUFFIXES, FolderSource, top_folders
from training.data.fusar import FusarSource
from training.data.opensarship import OpenSarShipScene, OpenSarShipSource
from training.data.record import CLASSES, Source
from training.errors import DataInvalid, DataMissing

WHAT_TO_DOWNLOAD = """\
Put one or more of these, as downloaded, anywhere under one folder and name that folder, or name \
them:
  FUSAR-Ship 1.0   FUSAR_Ship1.0.zip, or the folder it unpacks to (doi 10.1007/s11432-019-2772-5)
  OpenSARShip 1/2  scene archives S1A_IW_*.zip and .rar, or their folders
                   (doi 10.1109/JSTARS.2017.2755672)
  your own chips   a folder or zip with the folders Cargo/ Fishing/ Tanker/ (PNG, JPEG, TIFF, .npy)
To try everything without a download: python -m training.run --simulated --smoke"""

# Endings of unfinished downloads.
UNFINISHED_SUFFIXES = (".part", ".partial", ".crdownload", ".download", ".aria2")


SourceKind = type[OpenSarShipScene] | type[FusarSource] | type[FolderSource]
KINDS: tuple[SourceKind, ...] = (OpenSarShipScene, FusarSource, FolderSource)


@dataclass(frozen=True)
class FoundSource:
    """A folder or archive that is a source, or a scene of one."""

    path: Path
    kind: SourceKind


def discover(paths: list[Path]) -> list[Source]:
    """Sources at any depth in the given folders and archives, sorted by name.

    A source that is found twice, through a path given twice or inside another, is one source, and a
    chip belongs to one source only. Raises DataMissing, saying what is there instead and what to
    download, if a path holds no source; DataInvalid for an unfinished or damaged download, for
    ambiguous folders, and for two sources of one name.
    """
    for path in paths:
        if not path.exists():
            raise DataMissing(f"no such file or folder: {path}.\n{WHAT_TO_DOWNLOAD}")
    walk = _Walk()
    for path in sorted(located(path) for path in paths):  # a folder comes before what is in it
        walk.visit(path)
    idle = [path for path in paths if not any(_overlap(path, place.path) for place in walk.places)]
    if idle or not paths:
        there = "; ".join(_what_is_there(path) for path in idle) or "no path was given"
        raise DataMissing(f"no SAR ship chips found: {there}.\n{WHAT_TO_DOWNLOAD}")
    if walk.unread:
        raise DataInvalid(
            f"{_what_is_there(walk.unread[0])}; beside the other data it would not be read: add "
            "what is missing, or move it out"
        )
    return _unique(walk.places)


def _unique(places: list[FoundSource]) -> list[Source]:
    """The sources at these places, by name; DataInvalid if two have one name, because records
    name their source by it."""
    found: list[tuple[Source, Path]] = []
    scenes = [place.path for place in places if place.kind is OpenSarShipScene]
    if scenes:
        found.append((OpenSarShipSource(scenes), scenes[0].parent))
    for place in places:
        apart = frozenset(other.path for other in places) - {place.path}
        if place.kind is FusarSource:
            found.append((FusarSource(place.path, apart), place.path))
        elif place.kind is FolderSource:
            found.append((FolderSource(place.path, apart=apart), place.path))
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


class _Walk:
    """Collects sources from the outermost folder to the innermost.

    places  what is a source
    unread  folders with class folders that are too few, or wrongly spelt, to be one
    """

    def __init__(self) -> None:
        self.places: list[FoundSource] = []
        self.unread: list[Path] = []
        self._seen: set[Path] = set()

    def visit(self, path: Path, outer: FoundSource | None = None) -> None:
        """Look at a folder or archive that lies in the source `outer`, and at all inside it."""
        if path.resolve() in self._seen:
            return
        self._seen.add(path.resolve())
        if _is_unfinished(path):
            raise DataInvalid(f"{path} is an unfinished download; let it finish, or delete it")
        path = located(path)
        kind = _kind_of(path, outer)
        if kind and not (outer and _is_part(path, kind, outer)):
            if outer and path.is_dir():
                _check_clear(path, outer)
            outer = FoundSource(path, kind)
            self.places.append(outer)
        if is_dataset_archive(path) and not path.is_dir():
            _refuse_data_inside(path, kind)
            if kind is None and any(map(_is_of_class, Archive(path).names)):
                self.unread.append(path)
        elif path.is_dir():
            if outer is None and _unread_classes(path):
                self.unread.append(path)
            for child in children(path):
                if child.is_dir() or is_dataset_archive(child) or _is_unfinished(child):
                    self.visit(child, outer)


def _kind_of(path: Path, outer: FoundSource | None) -> SourceKind | None:
    """What source this is. Class folders of a source are none, whatever they hold: FUSAR-Ship has
    Tanker/Tanker."""
    if outer and path.is_dir() and path.name in CLASSES and outer.kind is not OpenSarShipScene:
        return None
    return next((kind for kind in KINDS if kind.recognises(path)), None)


def _is_part(path: Path, kind: SourceKind, outer: FoundSource) -> bool:
    """Whether a folder is no source of its own: a scene's folder in a folder of its name, as some
    programs unpack it, or more class folders below others."""
    if path.is_dir() and kind is outer.kind is OpenSarShipScene:
        return scene_of(path.name) == scene_of(outer.path.name)
    return path.is_dir() and kind is outer.kind is FolderSource


def _check_clear(path: Path, outer: FoundSource) -> None:
    """DataInvalid if the chips of a folder could be of it or of the source it lies in."""
    between = path.relative_to(outer.path).parts[:-1] if path.is_relative_to(outer.path) else ()
    if outer.kind is OpenSarShipScene or set(between) & set(CLASSES):
        raise DataInvalid(
            f"{path} lies in {outer.path}, so it is not clear which of the two its chips are of; "
            "move it out"
        )


def _unread_classes(folder: Path) -> bool:
    """Whether class folders with chips are here, though the folder is no source."""
    tops = (child for child in children(folder) if child.is_dir())
    chips = (chip.relative_to(folder) for top in tops if _is_class(top) for chip in top.rglob("*"))
    return any(_is_of_class(chip.as_posix()) for chip in chips)


def _is_of_class(name: str) -> bool:
    """Whether a file is a chip in a class folder, however that is spelt."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and any(map(_is_class, path.parents))


def _is_class(folder: PurePath) -> bool:
    return folder.name.title() in CLASSES


def _is_unfinished(path: Path) -> bool:
    return path.name.lower().endswith(UNFINISHED_SUFFIXES)


def _refuse_data_inside(path: Path, kind: SourceKind | None) -> None:
    """DataInvalid for an archive that holds more than its own kind of data: other archives, as a
    folder of OpenSARShip is handed on, or folders of scenes."""
    archive = Archive(path)
    archives = [name for name in archive.names if is_dataset_archive(Path(name))]
    scenes = [] if kind is OpenSarShipScene else sorted(filter(_is_scene, archive.folders))
    for what, inside in (("archives", archives), ("scenes", scenes)):
        if inside:
            raise DataInvalid(
                f"{path} holds {len(inside)} {what}, the first is {inside[0]}; unpack the outer "
                "one (not archives inside) and give its folder"
            )


def _is_scene(folder: str) -> bool:
    return scene_of(PurePosixPath(folder).name) is not None


def _what_is_there(path: Path) -> str:
    """What a path without a source holds, in the words of what was expected."""
    if not (path.is_dir() or is_dataset_archive(path)):
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
