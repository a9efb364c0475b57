"""Files of real programs that were once misread: service and batch runs answer what is right.

The files lie beside the data sets, each folder described in a README there; SHIPCHIP_DATA says
where. tests/shipchip/test_cases.py compares their samples.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from shipchip.chip import ReadQuantity
from tests.serving.server import ROOT, environment, serving

pytestmark = pytest.mark.data
DATA = Path(os.environ.get("SHIPCHIP_DATA", ROOT.parent / "shared" / "data"))
CASES = DATA.parent / "cases"
MODEL = ROOT / "models" / "ship.onnx"


class Read(NamedTuple):
    """How a file is read: the plane, what its samples are, metres on the ground and who says so."""

    polarisation: str
    quantity: ReadQuantity
    metres: float = 10.0
    spacing_from: str = "file"
    clipped: bool = False


VV, UNKNOWN, AMPLITUDE = (
    Read("VV", "sigma0"),
    Read("unknown", "sigma0"),
    Read("unknown", "amplitude"),
)
PICTURE = AMPLITUDE._replace(spacing_from="rule")
RIGHT: dict[str, Read | str] = {
    "band-names/06_hh_hv.tif": Read("HH", "sigma0"),
    "band-names/06_vv_vh_named.tif": VV,
    "decibels-dual/32_db_dual_nodata0.tif": "negative",
    "foreign-bands/11_float_vv_angle.tif": VV,
    "foreign-bands/30_vv_vh_ratio_angle.tif": VV,
    "gcps/20_gcps_40m.tif": AMPLITUDE._replace(metres=40.0),
    "int16-wrapped/02_int16_wrapped_dual.tif": "negative",
    "int16-wrapped/02_uint16_right_dual.tif": Read("VV", "amplitude"),
    "messages/02_int16_wrapped_single.tif": "negative",
    "messages/03_nodata-9999_single.tif": UNKNOWN,
    "messages/11_u8_4band_quadpol.tif": "not_grey",
    "messages/23_tifffile_2hw.tif": "unsupported_bands",
    "min-is-white/12_miniswhite_12bit.tif": AMPLITUDE,
    "min-is-white/12_miniswhite_u8.tif": PICTURE,
    "nodata-bright/00_ref_amp.tif": AMPLITUDE,
    "nodata-bright/03_nodata1e5.tif": UNKNOWN,
    "nodata-bright/03_nodata65535.tif": AMPLITUDE,
    "nodata-dual/00_ref_vhvv.tif": VV,
    "nodata-dual/03_nodata-9999_dual.tif": VV,
    "nodata-dual/30_quad_nodata.tif": VV,
    "not-pairs/25_2hw_zscore.npy": "negative",
    "png16-colour/14_grey16.png": PICTURE,
    "png16-colour/14_rgb16.png": PICTURE,
    "projections/07_3857_lat60.tif": AMPLITUDE,
    "projections/07_4326_lat60.tif": AMPLITUDE,
    "scale-offset/08_amp_scaled.tif": UNKNOWN,
    "small-negatives/04_denoised_dual.tif": "negative",
    # Warped to degrees of longitude and latitude: rows x columns are 11.83 x 8.82 m.
    "small-negatives/28_warp_bilinear_dual.tif": VV._replace(metres=10.22),
    "small-negatives/28_warp_cubic_dual.tif": VV._replace(metres=10.22, clipped=True),
    "thumbnail-first/40_thumb_then_subifd.tif": "unsupported_bands",
}
# What the message must say, where the README of the cases asks for the cause and the remedy.
SAID = {
    "int16-wrapped/02_int16_wrapped_dual.tif": ("wrapped", "uint16"),
    "messages/02_int16_wrapped_single.tif": ("wrapped", "uint16"),
    "messages/11_u8_4band_quadpol.tif": ("PHOTOMETRIC=MINISBLACK", "ALPHA=NO"),
    "messages/23_tifffile_2hw.tif": ("several full pages", "planarconfig='separate'"),
    "decibels-dual/32_db_dual_nodata0.tif": ("decibels", "linear sigma0"),
    "not-pairs/25_2hw_zscore.npy": ("z-scores",),
    "small-negatives/04_denoised_dual.tif": ("noise was removed", "before noise removal"),
    "thumbnail-first/40_thumb_then_subifd.tif": ("thumbnail", "put that one first"),
}
# Files of the one ship in its one place: a border or another way to store it hardly moves an
# answer. Others are of another place, or hold fewer levels or other samples.
ALIKE = 0.01
OF_ANOTHER_KIND = {
    "gcps/20_gcps_40m.tif",
    "min-is-white/12_miniswhite_u8.tif",
    "scale-offset/08_amp_scaled.tif",
    "small-negatives/28_warp_bilinear_dual.tif",
    "small-negatives/28_warp_cubic_dual.tif",
}


class Reading(NamedTuple):
    """What a service or a batch run tells about a file; a code and a message if it refuses it."""

    read: Read | str
    probabilities: tuple[float, ...]
    message: str


@pytest.fixture(autouse=True)
def _there() -> None:
    if not CASES.is_dir():
        pytest.skip(f"no folder {CASES}")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    if not CASES.is_dir():
        pytest.skip(f"no folder {CASES}")
    with serving(MODEL, tmp_path_factory.mktemp("cases") / "log.txt") as client:
        yield client


@pytest.fixture(scope="module")
def by_http(service: httpx.Client) -> dict[str, Reading]:
    """What the running service tells of each file."""
    return {name: http_reading(service, name) for name in RIGHT}


@pytest.fixture(scope="module")
def by_batch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reading]:
    """What one `python -m serving.batch` over the folder tells of each file."""
    if not CASES.is_dir():
        pytest.skip(f"no folder {CASES}")
    out = tmp_path_factory.mktemp("cases") / "out.jsonl"
    command = [sys.executable, "-m", "serving.batch", str(CASES), "--out", str(out)]
    command += ["--model", str(MODEL), "--device", "cpu"]
    subprocess.run(command, cwd=ROOT, env=environment(MODEL), check=False, capture_output=True)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    return {row["path"].removeprefix(f"{CASES}/"): row_reading(row) for row in rows}


def http_reading(service: httpx.Client, name: str) -> Reading:
    upload = [("files", (Path(name).name, (CASES / name).read_bytes()))]
    (result,) = service.post("/v1/classify", files=upload).json()["results"]
    if result["status"] == "error":
        return Reading(result["error"]["code"], (), result["error"]["message"])
    used = result["used"]
    read = Read(
        used["polarisation"],
        used["quantity"],
        mean(*used["pixel_spacing_m"]),
        used["pixel_spacing_from"],
        used.get("clipped", 0) > 0,
    )
    return Reading(read, tuple(result["probabilities"].values()), "")


def row_reading(row: dict[str, Any]) -> Reading:
    if row["status"] == "error":
        return Reading(row["error_code"], (), row["error_message"])
    read = Read(
        row["polarisation"],
        row["quantity"],
        mean(row["pixel_spacing_row_m"], row["pixel_spacing_column_m"]),
        row["pixel_spacing_from"],
    )
    return Reading(read, tuple(row[name] for name in row if name.startswith("p_")), "")


def mean(rows: float, columns: float) -> float:
    """The side of a square as large as a sample."""
    return float((rows * columns) ** 0.5)


def check(name: str, reported: Reading, *, clipped: bool) -> None:
    """That a file was read as what it is; batch rows do not tell the clipped share."""
    right = RIGHT[name]
    if isinstance(right, str) or isinstance(reported.read, str):
        assert reported.read == right
        assert all(part in reported.message for part in SAID[name])
        return
    assert reported.read.metres == pytest.approx(right.metres, rel=0.005)
    assert reported.read == right._replace(
        metres=reported.read.metres, clipped=right.clipped if clipped else False
    )


def test_every_file_of_the_cases_is_here() -> None:
    found = {
        str(p.relative_to(CASES)) for p in CASES.rglob("*") if p.suffix in {".tif", ".png", ".npy"}
    }
    assert found == RIGHT.keys()


@pytest.mark.parametrize("name", RIGHT)
def test_the_service_reads_a_file_as_what_it_is(name: str, by_http: dict[str, Reading]) -> None:
    check(name, by_http[name], clipped=True)


@pytest.mark.parametrize("name", RIGHT)
def test_a_batch_run_reads_a_file_as_what_it_is(name: str, by_batch: dict[str, Reading]) -> None:
    check(name, by_batch[name], clipped=False)


def test_the_ship_gets_one_answer_however_it_is_stored(
    by_http: dict[str, Reading], by_batch: dict[str, Reading]
) -> None:
    reference = by_http["nodata-bright/00_ref_amp.tif"].probabilities
    for name, right in RIGHT.items():
        if isinstance(right, Read):
            http, batch = by_http[name].probabilities, by_batch[name].probabilities
            assert http == pytest.approx(batch, abs=1e-4)
            if name not in OF_ANOTHER_KIND:
                assert http == pytest.approx(reference, abs=ALIKE), name
