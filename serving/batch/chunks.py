"""A chunk of entries -> its rows, wherever it is computed.

The chips of a chunk are one model run on one core (or one GPU). So a chip gets the same digits in
one process or many, when resumed, in a shard and on a cluster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.batch.inputs import ChipEntry, options_of, read_entry
from serving.batch.outputs.pictures import draw_map, sort_crop, write_map
from serving.batch.rows import BatchRow, to_row
from serving.chips import ChipFailure, ChipOptions, Outcome, predict_each, prepare_chip
from shipchip import DecodeLimits, PreparedChip, ShipClassifier
from shipchip.card import InputSpec
from shipchip.classifier import Device
from shipchip.errors import ChipError

PreparedOrFailure = PreparedChip | ChipFailure


@dataclass(frozen=True)
class Chunk:
    """Consecutive entries; `start` is the number of the first among all entries."""

    start: int
    entries: tuple[ChipEntry, ...]


@dataclass(frozen=True)
class Work:
    """The work on every entry.

    model    the model file
    device   where ONNX Runtime runs it
    options  what the caller knows about the chips
    limits   the limits of their files
    maps     the folder for activation maps, if they are wanted
    crops    the folder for chips sorted by label, if they are wanted
    copy     whether chips are copied there rather than linked
    sha256   of the model file, once it was opened: all other processes must find the same
    """

    model: Path
    device: Device
    options: ChipOptions
    limits: DecodeLimits
    maps: Path | None = None
    crops: Path | None = None
    copy: bool = False
    sha256: str | None = None

    def open(self) -> ShipClassifier:
        """Open the model on one core, or on a GPU; raises a ModelError."""
        return ShipClassifier(self.model, device=self.device, threads=1, sha256=self.sha256)

    def prepare(self, chunk: Chunk, spec: InputSpec) -> list[PreparedOrFailure]:
        """Each chip as the model takes it, or why it cannot be. Raises nothing."""
        return [self._prepare(entry, spec) for entry in chunk.entries]

    def classify(
        self, chunk: Chunk, prepared: Sequence[PreparedOrFailure], ships: ShipClassifier
    ) -> list[BatchRow]:
        """One row per entry, in order, and its pictures. OutputError if they cannot be written."""
        inputs = [item for item in prepared if not isinstance(item, ChipFailure)]
        explain = self.maps is not None
        found = iter(predict_each(ships, inputs, explain) if inputs else ())
        rows = []
        for place, (entry, item) in enumerate(zip(chunk.entries, prepared, strict=True)):
            result = item if isinstance(item, ChipFailure) else next(found)
            rows.append(to_row(entry.name, result, ships.card))
            self._write_map(chunk.start + place, entry, item, result, ships)
            self._sort_crop(chunk.start + place, entry, result)
        return rows

    def _prepare(self, entry: ChipEntry, spec: InputSpec) -> PreparedOrFailure:
        try:
            content = read_entry(entry, self.limits)
        except ChipError as error:
            return ChipFailure(error.code, str(error))
        return prepare_chip(content, options_of(entry, self.options), spec, self.limits)

    def _write_map(
        self,
        index: int,
        entry: ChipEntry,
        item: PreparedOrFailure,
        result: Outcome,
        ships: ShipClassifier,
    ) -> None:
        if self.maps is None or isinstance(item, ChipFailure) or isinstance(result, ChipFailure):
            return
        if result.activation_map is not None:
            png = draw_map(item.input, result.activation_map, ships.card.input.db_scale)
            write_map(self.maps, index, entry.name, png)

    def _sort_crop(self, index: int, entry: ChipEntry, result: Outcome) -> None:
        if self.crops is None:
            return
        label = None if isinstance(result, ChipFailure) else result.label
        chip: bytes | Path = Path(entry.path)
        if entry.member is not None:
            try:
                chip = read_entry(entry, self.limits)
            except ChipError:
                return  # its row says why
        sort_crop(self.crops, label, index, entry.name, chip, copy=self.copy)
