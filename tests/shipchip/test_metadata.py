"""Scale, offset, no-data and names in GDAL's and SNAP's metadata: applied, or refused."""

import numpy as np
import pytest

from shipchip import decode
from shipchip.chip import Chip
from shipchip.errors import Corrupt, Negative, UnsupportedBands
from tests.shipchip.inputs import bordered, gdal_tags, grey8, scene, sigma0, tiff

VV, VH = sigma0(7), sigma0(8)
PACKED = [((plane - 0.5) / 0.001).round().astype(np.int32) for plane in (VH, VV)]
UNPACKED = [plane * 0.001 + 0.5 for plane in PACKED]


def described(items: str, *planes: np.ndarray, more: str = "") -> Chip:
    """Planes with GDAL's metadata."""
    xml = f"<GDALMetadata>{more}{items}</GDALMetadata>"
    return decode(stacked(*planes, tags=[(42112, "s", 0, xml, True)]))


def stacked(*planes: np.ndarray, tags: list) -> bytes:
    if len(planes) == 1:
        return tiff(planes[0], extratags=tags)
    return tiff(np.stack(planes, axis=-1), planarconfig="contig", extratags=tags)


def item(role: str, value: object, sample: object = None) -> str:
    of = "" if sample is None else f' sample="{sample}"'
    return f'<Item name="{role.upper()}"{of} role="{role}">{value}</Item>'


# Scale and offset


@pytest.mark.parametrize("planes", [1, 2])
def test_a_scale_of_the_whole_data_set_is_that_of_all_bands(planes: int) -> None:
    chip = described(item("scale", 0.001) + item("offset", 0.5), *PACKED[-planes:])
    assert chip.quantity == "sigma0"
    np.testing.assert_allclose(chip.amplitude[-1], np.sqrt(UNPACKED[1]), rtol=1e-5)


@pytest.mark.parametrize("first", [True, False])
def test_a_bands_own_scale_goes_before_that_of_the_data_set(first: bool) -> None:
    both = [item("scale", 0.001), item("scale", 0.0005, sample=1)]
    offset = item("offset", 0.5)
    chip = described("".join(both if first else both[::-1]) + offset, *PACKED)
    np.testing.assert_allclose(chip.amplitude[0], np.sqrt(UNPACKED[0]), rtol=1e-5)
    np.testing.assert_allclose(chip.amplitude[1], np.sqrt(PACKED[1] * 0.0005 + 0.5), rtol=1e-5)


def test_quotes_and_spaces_do_not_hide_an_attribute() -> None:
    text = "<Item name = 'SCALE' sample= '0' role ='scale'>0.001</Item>" + item("offset", 0.5, 0)
    chip = described(text, PACKED[1])
    np.testing.assert_allclose(chip.amplitude[0], np.sqrt(UNPACKED[1]), rtol=1e-5)


def test_items_of_users_are_not_a_scale() -> None:
    chip = described('<Item name="scale">7</Item><Item name="note" sample="9">x</Item>', VV)
    np.testing.assert_allclose(chip.amplitude[0], np.sqrt(VV), rtol=1e-6)


@pytest.mark.parametrize("role", ["scale", "offset", "description", "unittype"])
@pytest.mark.parametrize("sample", ["2", "-1", "", "first", "99999999999"])
def test_an_item_of_a_band_that_is_not_there_is_corrupt(role: str, sample: str) -> None:
    """As in a file whose bands were cut out by a program that copied the tag."""
    with pytest.raises(Corrupt, match=f"give a {role} to the band '{sample}'; there are 2"):
        described(item(role, 1, sample), VH, VV)


def test_a_name_of_no_band_among_two_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="give a description to the band None"):
        described(item("description", "VV"), VH, VV)
    assert described(item("description", "HH"), VV).polarisations == ("HH",)


def test_two_values_for_one_band_are_corrupt() -> None:
    with pytest.raises(Corrupt, match="two values for the scale of band 0: '2' and '3'"):
        described(item("scale", 2, 0) + item("scale", 3, 0), VV)
    assert described(item("scale", 2, 0) * 2, VV).quantity == "sigma0"


@pytest.mark.parametrize("sample", [0, None])
def test_a_scale_of_0_is_named(sample: int | None) -> None:
    with pytest.raises(Corrupt, match="scale factor of the TIFF's metadata is 0"):
        described(item("scale", "0.0", sample), VV)


def test_a_scale_of_0_on_a_band_that_is_not_read_is_not_in_the_way() -> None:
    names = item("description", "VV", 0) + item("description", "mask", 1)
    assert described(names + item("scale", 0, 1), VV, VH).polarisations == ("VV",)


# No data


@pytest.mark.parametrize("text", ["none", "NULL", "-9999;0", "0x10", "--", "1,5"])
def test_no_data_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(Corrupt, match=r"no-data value is '.*'; expected a number or 'nan'"):
        decode(tiff(VV, extratags=gdal_tags(nodata=text)))


@pytest.mark.parametrize("text", ["", " ", "\0"])
def test_empty_no_data_is_none(text: str) -> None:
    chip = decode(tiff(bordered(VV, 0), extratags=gdal_tags(nodata=text)))
    assert chip.valid is None


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan", "-1.#IND", "1.#QNAN00", " nan "])
def test_every_way_to_write_nan_is_nan(text: str) -> None:
    chip = decode(tiff(bordered(VV, np.nan), extratags=gdal_tags(nodata=text)))
    assert chip.valid is not None
    assert not chip.valid[0, :, :4].any()
    assert chip.valid[0, :, 4:].all()


def test_no_data_as_a_number_is_that_number() -> None:
    chip = decode(tiff(bordered(VV), extratags=[(42113, "d", 1, -9999.0, True)]))
    assert chip.valid is not None
    assert not chip.valid[0, :, :4].any()


@pytest.mark.parametrize("tag", [42112, 42113, 65000])
def test_metadata_that_are_no_text_are_corrupt(tag: int) -> None:
    with pytest.raises(Corrupt, match=f"tag {tag} holds tuple; expected text"):
        decode(tiff(VV, extratags=[(tag, "H", 3, (1, 2, 3), True)]))


@pytest.mark.parametrize("value", [-1, -9999, -0.5, np.finfo(np.float32).min])
@pytest.mark.parametrize("bands", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("samples", ["sigma0", "amplitude"])
def test_no_data_of_two_bands_that_is_not_declared_is_named(
    value: float, bands: tuple[int, ...], samples: str
) -> None:
    given = [VH, VV] if samples == "sigma0" else [scene(8).round(), scene(7).round()]
    planes = [
        bordered(plane.astype(np.float32), value) if k in bands else plane.astype(np.float32)
        for k, plane in enumerate(given)
    ]
    count = 160 * len(bands)
    with pytest.raises(Negative, match=rf"{count} samples are .*: a no-data value") as error:
        decode(stacked(*planes, tags=[]))
    # Declared as the message says, it is masked.
    declared = str(error.value).split("-a_nodata ")[1].split(")")[0]
    assert decode(stacked(*planes, tags=gdal_tags(nodata=declared))).valid is not None


def test_a_border_of_its_own_in_each_band_is_named() -> None:
    with pytest.raises(Negative, match="samples are -1: a no-data value"):
        decode(stacked(bordered(VH, -1), bordered(VV, -9999), tags=[]))


def test_a_few_samples_of_a_border_are_named_too() -> None:
    """Below the share that may be clipped: they would be sea at 0."""
    corner = VV.copy()
    corner[:4, :5] = -1
    with pytest.raises(Negative, match="20 samples are -1: a no-data value"):
        decode(tiff(corner))


def test_integers_with_a_border_are_not_called_wrapped() -> None:
    with pytest.raises(Negative, match="160 samples are -1: a no-data value"):
        decode(tiff(bordered(grey8().astype(np.int16), -1)))


# SNAP


def snap(*bands: str) -> list:
    """SNAP's tag: the fields of each band."""
    blocks = "".join(f"<Spectral_Band_Info>{band}</Spectral_Band_Info>" for band in bands)
    return [(65000, "s", 0, f"<Dimap_Document>{blocks}</Dimap_Document>", True)]


def field(**fields: object) -> str:
    return "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())


def test_bands_that_snap_computes_and_does_not_write_are_left_out() -> None:
    tags = snap(
        field(BAND_NAME="Amplitude_VV"),
        field(BAND_NAME="Intensity_VV", VIRTUAL_BAND="true"),
        field(BAND_NAME="Amplitude_VH"),
    )
    chip = decode(stacked(VV, VH, tags=tags))
    assert (chip.polarisations, chip.quantity) == (("VV", "VH"), "amplitude")


def test_names_of_another_number_of_bands_are_refused() -> None:
    tags = snap(field(BAND_NAME="Sigma0_HH"), field(BAND_NAME="Sigma0_HV"))
    with pytest.raises(UnsupportedBands, match=r"describe 2 bands .*'Sigma0_HV'.* TIFF has 1"):
        decode(tiff(VV, extratags=tags))
    assert decode(tiff(VV, extratags=[*tags, *gdal_tags(["HV"])])).polarisations == ("HV",)


def test_snaps_scale_and_no_data_are_applied() -> None:
    fields = field(
        BAND_NAME="Sigma0_VV",
        SCALING_FACTOR="0.001",
        SCALING_OFFSET="0.5",
        NO_DATA_VALUE_USED="true",
        NO_DATA_VALUE="-9999.0",
    )
    chip = decode(tiff(bordered(PACKED[1], -9999), extratags=snap(fields)))
    assert chip.valid is not None
    assert not chip.valid[0, :, :4].any()
    np.testing.assert_allclose(chip.amplitude[0, :, 4:], np.sqrt(UNPACKED[1])[:, 4:], rtol=1e-5)


def test_a_no_data_value_that_snap_does_not_use_is_not_one() -> None:
    fields = field(BAND_NAME="VV", NO_DATA_VALUE_USED="false", NO_DATA_VALUE="0.0")
    assert decode(tiff(bordered(VV, 0), extratags=snap(fields))).valid is None


def test_no_data_of_one_band_leaves_the_other() -> None:
    masked = field(BAND_NAME="VV", NO_DATA_VALUE_USED="true", NO_DATA_VALUE="0")
    chip = decode(stacked(VH, bordered(VV, 0), tags=snap(field(BAND_NAME="VH"), masked)))
    assert chip.valid is not None
    assert chip.valid[0].all()
    assert not chip.valid[1, :, :4].any()


def test_a_logarithm_is_refused() -> None:
    fields = field(BAND_NAME="Sigma0_VV", LOG10_SCALED="true")
    with pytest.raises(Negative, match="decibels"):
        decode(tiff(VV, extratags=snap(fields)))


# Bounds


def test_a_megabyte_of_metadata_is_refused_and_half_of_it_is_read() -> None:
    names = item("description", "HV", 0)
    padding = "<Item name='note'>" + "x" * 2**19 + "</Item>"
    assert described(names, VV, more=padding).polarisations == ("HV",)
    with pytest.raises(Corrupt, match=r"tag 42112 holds .* at most 1048576 are read"):
        described(names, VV, more=padding * 2)


def test_a_name_of_a_thousand_letters_is_read_and_no_longer_one() -> None:
    assert described(item("description", "HV " + "x" * 997, 0), VV).polarisations == ("HV",)
    with pytest.raises(Corrupt, match="a description of 1001 characters"):
        described(item("description", "HV " + "x" * 998, 0), VV)
