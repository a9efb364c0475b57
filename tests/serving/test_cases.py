"""Small files of real programs, over HTTP and in a batch: what is right, and what was assumed."""

import json
import os
from pathlib import Path

import httpx
import pytest

from serving.batch.command import main

pytestmark = pytest.mark.data
ROOT = Path(__file__).parent.parent.parent
DATA = Path(os.environ.get("SHIPCHIP_DATA", ROOT.parent / "shared" / "data"))
CASES = DATA.parent / "cases"

Said = str | tuple[str, str, float, str]

# The code of what is refused; else polarisation, quantity, metres a row and where they are from.
RIGHT: dict[str, Said] = {
    "band-names/06_hh_hv.tif": ("HH", "sigma0", 10.0, "file"),
    "band-names/06_vv_vh_named.tif": ("VV", "sigma0", 10.0, "file"),
    "decibels-dual/32_db_dual_nodata0.tif": "negative",
    "foreign-bands/11_float_vv_angle.tif": ("VV", "sigma0", 10.0, "file"),
    "foreign-bands/30_vv_vh_ratio_angle.tif": ("VV", "sigma0", 10.0, "file"),
    "gcps/20_gcps_40m.tif": ("unknown", "amplitude", 40.0, "file"),
    "int16-wrapped/02_int16_wrapped_dual.tif": "negative",
    "int16-wrapped/02_uint16_right_dual.tif": ("VV", "amplitude", 10.0, "file"),
    "messages/02_int16_wrapped_single.tif": "negative",
    "messages/03_nodata-9999_single.tif": ("unknown", "sigma0", 10.0, "file"),
    "messages/11_u8_4band_quadpol.tif": "not_grey",
    "messages/23_tifffile_2hw.tif": "unsupported_bands",
    "min-is-white/12_miniswhite_12bit.tif": ("unknown", "amplitude", 10.0, "file"),
    "min-is-white/12_miniswhite_u8.tif": ("unknown", "amplitude", 10.0, "rule"),
    "nodata-bright/00_ref_amp.tif": ("unknown", "amplitude", 10.0, "file"),
    "nodata-bright/03_nodata1e5.tif": ("unknown", "sigma0", 10.0, "file"),
    "nodata-bright/03_nodata65535.tif": ("unknown", "amplitude", 10.0, "file"),
    "nodata-dual/00_ref_vhvv.tif": ("VV", "sigma0", 10.0, "file"),
    "nodata-dual/03_nodata-9999_dual.tif": ("VV", "sigma0", 10.0, "file"),
    "nodata-dual/30_quad_nodata.tif": ("VV", "sigma0", 10.0, "file"),
    "not-pairs/25_2hw_zscore.npy": "negative",
    "png16-colour/14_grey16.png": ("unknown", "amplitude", 10.0, "rule"),
    "png16-colour/14_rgb16.png": ("unknown", "amplitude", 10.0, "rule"),
    "projections/07_3857_lat60.tif": ("unknown", "amplitude", 10.0, "file"),
    "projections/07_4326_lat60.tif": ("unknown", "amplitude", 10.0, "file"),
    "scale-offset/08_amp_scaled.tif": ("unknown", "sigma0", 10.0, "file"),
    "small-negatives/04_denoised_dual.tif": "negative",
    "small-negatives/28_warp_bilinear_dual.tif": ("VV", "sigma0", 11.8, "file"),
    "small-negatives/28_warp_cubic_dual.tif": ("VV", "sigma0", 11.8, "file"),
    "thumbnail-first/40_thumb_then_subifd.tif": "unsupported_bands",
}


@pytest.fixture(autouse=True)
def there() -> None:
    if not CASES.is_dir():
        pytest.skip(f"no folder {CASES}")


def test_every_case_has_its_right_answer_here() -> None:
    files = [path for path in CASES.rglob("*") if path.suffix in (".tif", ".png", ".npy")]
    assert {path.relative_to(CASES).as_posix() for path in files} == set(RIGHT)


def test_the_service_reads_each_as_what_it_is(client: httpx.Client) -> None:
    results = []
    for name in RIGHT:
        files = [("files", (name, (CASES / name).read_bytes()))]
        results += client.post("/v1/classify", files=files).json()["results"]
    found: dict[str, Said] = {}
    for result in results:
        if result["status"] == "error":
            found[result["filename"]] = result["error"]["code"]
            continue
        used = result["used"]
        found[result["filename"]] = (
            used["polarisation"],
            used["quantity"],
            round(used["pixel_spacing_m"][0], 1),
            used["pixel_spacing_from"],
        )
    assert found == RIGHT
    told = {r["filename"]: r["used"].get("clipped") for r in results if r["status"] == "ok"}
    assert [name for name, share in told.items() if share] == [
        "small-negatives/28_warp_cubic_dual.tif"
    ]


def test_a_batch_reads_each_as_what_it_is(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    options = [
        *(str(CASES / name) for name in RIGHT),
        "--out",
        str(out),
        "--model",
        str(model),
        "--device",
        "cpu",
    ]
    assert main(options) == 1  # some chips failed
    found: dict[str, Said] = {}
    for line in out.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        name = Path(row["path"]).relative_to(CASES).as_posix()
        found[name] = row["error_code"] or (
            row["polarisation"],
            row["quantity"],
            round(row["pixel_spacing_row_m"], 1),
            row["pixel_spacing_from"],
        )
    assert found == RIGHT
