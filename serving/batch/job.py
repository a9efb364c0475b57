"""The job of a run: all that its rows depend on, so that no other run is resumed or merged."""

import argparse
from collections.abc import Sequence

from serving.batch.work import Work
from serving.inputs import Entry, stamp_of
from serving.outputs.job import Job, hash_names, hash_stamps
from serving.rows import columns, readable
from shipchip import ShipClassifier, __version__


def make_job(
    args: argparse.Namespace,
    work: Work,
    ships: ShipClassifier,
    entries: Sequence[Entry],
    chunk: int,
) -> Job:
    """The job of the run that the command line asks for, or of one shard of it."""
    options = {
        "pixel_spacing": args.pixel_spacing,
        "polarisation": args.polarisation,
        "quantity": args.quantity,
        "maps": args.maps and readable(str(args.maps)),
        "crops_by_label": args.crops_by_label and readable(str(args.crops_by_label)),
        "copy": args.copy,
        "plain_csv": args.plain_csv,
        "max_bytes": work.limits.max_bytes,
        "max_pixels": work.limits.max_pixels,
        "provider": ships.provider,
    }
    job = Job(
        model_sha256=ships.sha256,
        model_version=ships.card.version,
        options=options,
        chunk=chunk,
        shard=args.shard,
        entries=len(entries),
        entries_sha256=hash_names(entry.name for entry in entries),
        version=__version__,
        columns=columns(ships.classes),
    )
    if args.out == "-":
        return job  # standard output is never resumed: no need to look at every chip
    stamps = hash_stamps(stamp_of(entries[number]) for number in job.span)
    return job.model_copy(update={"chips_sha256": stamps})
