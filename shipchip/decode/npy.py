"""NumPy's .npy -> Raster. Pickled objects are refused unread."""

import io
import math

import numpy as np

from shipchip.chip import DecodeLimits
from shipchip.decode.raster import DECODER_FAILURES, Raster, grey_of_colour
from shipchip.errors import ChipError, Corrupt, Truncated, UnsupportedBands, UnsupportedFormat

MAGIC = b"\x93NUMPY"
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,  # as 2.0, with field names in UTF-8
}


def read_npy(data: bytes, limits: DecodeLimits) -> Raster:
    """A .npy array (H, W), (P, H, W) or (H, W, P). Raises a ChipError."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"version {version} is unknown")
        shape, fortran, dtype = _HEADERS[version](stream)
    except DECODER_FAILURES as error:
        raise _npy_header_error(error, data) from error
    if dtype.kind not in "iufc":
        raise UnsupportedFormat(f".npy of dtype {dtype}; expected integer, float or complex")
    if min(shape, default=0) < 0:
        raise Corrupt(f"the .npy header announces the shape {shape}")
    if len(shape) not in (2, 3):
        raise UnsupportedBands(f".npy of shape {shape}; expected (H, W), (P, H, W) or (H, W, P)")
    planes_last = len(shape) == 3 and shape[0] > 4 and shape[2] <= 4
    height, width = shape[:2] if planes_last else shape[-2:]
    bands = 1 if len(shape) == 2 else shape[2 if planes_last else 0]
    limits.check(height, width, bands * dtype.itemsize)
    if bands == 0:
        raise UnsupportedBands(f".npy of shape {shape} has no plane; expected 1, 2 or 4")
    need, have = math.prod(shape) * dtype.itemsize, len(data) - stream.tell()
    if have < need:
        raise Truncated(f"the .npy header promises {need} bytes of samples, {have} are there")
    flat = np.frombuffer(data, dtype, math.prod(shape), stream.tell())
    samples = flat.reshape(shape, order="F" if fortran else "C")
    if samples.ndim == 2:
        return Raster(samples[None], float_is_sigma0=False)
    planes = np.moveaxis(samples, -1, 0) if planes_last else samples
    if planes.shape[0] == 3 and dtype.kind in "iu":
        planes = grey_of_colour(planes)
    return Raster(planes, float_is_sigma0=False)


def _npy_header_error(error: BaseException, data: bytes) -> ChipError:
    header = int.from_bytes(data[8:10], "little") + 10 if len(data) >= 10 else 10
    if len(data) < header:
        return Truncated(f"the .npy file ends inside its header ({len(data)} bytes)")
    return Corrupt(f"the .npy header cannot be read: {error}")
