"""Rows and jobs as tests of the outputs make them, without a model."""

from pathlib import Path
from typing import Any

from serving.batch.outputs.job import Job, hash_names, hash_stamps
from serving.batch.outputs.place import Existing
from serving.batch.outputs.staging import Staging
from serving.batch.rows import BatchRow, columns, readable

CLASSES = ("Cargo", "Fishing", "Tanker")
COLUMNS = columns(CLASSES)
ODD = [
    "a b.png",
    "c,d.png",
    "e\nf.png",
    "g\rh.png",
    'i"j.png',
    "k船.png",
    "l\udcffm.png",
    "n\u2028o",
    "=1+1.png",
    "'=1+1.png",
]


def names_of(count: int) -> list[str]:
    """Names of entries, the first of them with all that is hard on formats."""
    return [*ODD, *(f"dir/{i:05d}.png" for i in range(len(ODD), count))][:count]


def row_of(index: int, name: str) -> BatchRow:
    """The row of an entry: every third one failed, numbers of every length."""
    row: BatchRow = dict.fromkeys(COLUMNS) | {"path": readable(name), "model_version": "0.0.1-test"}
    if index % 3 == 2:
        message = "" if index % 2 else 'found "nothing",\r\nexpected\na chip'
        return row | {"status": "error", "error_code": "empty", "error_message": message}
    share = round(1 / (index + 1.5), 6)
    return row | {
        "status": "ok",
        "label": CLASSES[index % 2],
        "confidence": share,
        "p_cargo": share,
        "p_fishing": 1e-06 * (index % 4),
        "p_tanker": 1.0 if index % 5 == 0 else 0.1,
        "prediction_set": list(CLASSES[: index % 4]),
        "in_distribution": index % 7 != 0,
        "ood_score": round(index * 1.000001, 6),
        "verdict": ("sure", "undecided", "unlike")[index % 3],
        "pixel_spacing_row_m": 13.93,
        "pixel_spacing_column_m": share,
        "pixel_spacing_from": "rule",
        "polarisation": "VV",
        "quantity": "sigma0",
        "length_m": 182.4 if index % 2 else None,
        "length_low_m": 146.0 if index % 2 else None,
        "length_high_m": 227.9 if index % 2 else None,
        "width_m": 28.1 if index % 2 else None,
        "width_low_m": 21.8 if index % 2 else None,
        "width_high_m": 36.3 if index % 2 else None,
        "length_validated": bool(index % 4 == 1) if index % 2 else None,
        "lon": -share if index % 2 else None,
        "lat": 40 + share if index % 2 else None,
        "map_file": f"{index:08d}.png" if index % 2 else None,
    }


def rows_of(names: list[str]) -> list[BatchRow]:
    return [row_of(i, name) for i, name in enumerate(names)]


def job_for(names: list[str], **changes: Any) -> Job:
    fields: dict[str, Any] = {
        "model_sha256": "ab" * 32,
        "model_version": "0.0.1-test",
        "options": {"quantity": "auto", "pixel_spacing": (10.0, 10.0)},
        "chunk": 4,
        "entries": len(names),
        "entries_sha256": hash_names(names),
        "chips_sha256": hash_stamps((len(name), 0) for name in names),
        "version": "0.1.0",
        "columns": COLUMNS,
    }
    return Job(**fields | changes)


def run(
    out: Path,
    names: list[str],
    job: Job,
    *,
    existing: Existing = "refuse",
    most: int = 10**9,
) -> int:
    """What the engine does: rows from where the staging is, `most` chunks of them, then the end.

    How many chunks it computed.
    """
    span, rows, computed = job.span, rows_of(names), 0
    with Staging.open(out, job, [names[i] for i in span], existing=existing) as staging:
        while not staging.finished and staging.done < len(span) and computed < most:
            first = span[staging.done]
            staging.write(rows[first : min(first + job.chunk, span.stop)])
            computed += 1
        if computed < most:
            staging.finish()
    return computed


def undisturbed(folder: Path, ending: str, names: list[str], **job: Any) -> bytes:
    """The output of a run that nothing befell."""
    out = folder / f"undisturbed{ending}"
    run(out, names, job_for(names, **job))
    return out.read_bytes()
