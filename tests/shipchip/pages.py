"""TIFF files of several pages: images, overviews and masks."""

import io

import numpy as np
import tifffile

# NewSubfileType
FULL, REDUCED, MASK, REDUCED_MASK = 0, 1, 4, 5


def pages(*images: tuple[np.ndarray, int | None], old: bool = False, sub_ifds: int = 0) -> bytes:
    """A TIFF of pages with their NewSubfileType (None: no such tag), or with the old SubfileType
    (1: full, 2: reduced). Of the pages, `sub_ifds` become sub-directories of the first."""
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        for number, (image, kind) in enumerate(images):
            writer.write(
                image,
                photometric="minisblack",
                metadata=None,
                subfiletype=None if kind is None or old else kind & REDUCED,
                subifds=sub_ifds if number == 0 else None,
                extratags=[(255, "H", 1, 1 + (kind or 0), True)] if old else [],
            )
    out.seek(0)
    with tifffile.TiffFile(out, mode="r+b") as file:
        top = [*file.pages, *(file.pages[0].pages or [])]  # type: ignore[union-attr]
        for page, (_, kind) in zip(top, images, strict=True):
            if kind and not old:
                page.tags[254].overwrite(kind)  # type: ignore[union-attr]
    return out.getvalue()
