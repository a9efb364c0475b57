"""Every error that shipchip raises on purpose.

Each class has a stable `code`: programs branch on the code, people read the message, and the
message says what was found, what was expected and what to do.

    ShipchipError                        code
    ├── ChipError                        (a chip that cannot be classified)
    │   ├── NotFound                     not_found
    │   ├── Unreadable                   unreadable
    │   ├── Empty                        empty
    │   ├── TooLarge                     too_large
    │   ├── UnsupportedFormat            unsupported_format
    │   ├── Truncated                    truncated
    │   ├── Corrupt                      corrupt
    │   ├── TooManyPixels                too_many_pixels
    │   ├── TooSmall                     too_small
    │   ├── NotGrey                      not_grey
    │   ├── UnsupportedBands             unsupported_bands
    │   ├── NonFinite                    non_finite
    │   ├── Negative                     negative
    │   ├── NotBackscatter               not_backscatter
    │   ├── NoData                       no_data
    │   ├── Blank                        blank
    │   ├── OutsideScene                 outside_scene
    │   ├── OnLand                       on_land
    │   ├── PolarisationMissing          polarisation_missing
    │   └── BadPixelSpacing              bad_pixel_spacing
    ├── ModelError                       (a model file that cannot be used)
    │   ├── ModelNotFound                model_not_found
    │   ├── ModelCorrupt                 model_corrupt
    │   ├── CardMissing                  card_missing
    │   ├── CardInvalid                  card_invalid
    │   └── ProviderUnavailable          provider_unavailable
    ├── FolderNotEmpty                   folder_not_empty
    └── ServiceError                     service_error
        ├── ServiceUnavailable           service_unavailable
        └── ServiceRefused               service_refused
"""

from typing import ClassVar


class ShipchipError(Exception):
    """Base of all errors raised on purpose; `code` is stable across releases."""

    code: ClassVar[str] = "error"


class ChipError(ShipchipError):
    """The chip cannot be classified. Other chips of the same request are not affected."""

    code = "bad_chip"


class NotFound(ChipError):
    """No file has this path. Batch runs and the client only: check the path."""

    code = "not_found"


class Unreadable(ChipError):
    """The path is not a regular file, or may not be read. Check its kind and permissions."""

    code = "unreadable"


class Empty(ChipError):
    """The file has 0 bytes. Send its content."""

    code = "empty"


class TooLarge(ChipError):
    """The file has more bytes than the limit; none were read. Send a smaller file, or raise
    `SHIPCHIP_MAX_BYTES`.
    """

    code = "too_large"


class UnsupportedFormat(ChipError):
    """Not a supported format, or an unsupported variant of one. Convert it to PNG, JPEG, TIFF or
    `.npy`.
    """

    code = "unsupported_format"


class Truncated(ChipError):
    """The file ends before its header says it should. Send it again."""

    code = "truncated"


class Corrupt(ChipError):
    """The format is right, but the content contradicts itself. Create the file again."""

    code = "corrupt"


class TooManyPixels(ChipError):
    """The header announces more pixels than the limit; none were decoded. Cut the chip out around
    one ship, or raise `SHIPCHIP_MAX_PIXELS`.
    """

    code = "too_many_pixels"


class TooSmall(ChipError):
    """Fewer than 8 pixels on a side. Cut a larger chip: the ship needs sea around it."""

    code = "too_small"


class NotGrey(ChipError):
    """A colour picture, such as a screenshot or a plot. Send the radar amplitude."""

    code = "not_grey"


class UnsupportedBands(ChipError):
    """Not 1, 2 or 4 planes, several pages, or bands that do not say which planes they are. Send 1,
    2 or 4 planes of one kind in one page.
    """

    code = "unsupported_bands"


class NonFinite(ChipError):
    """Samples contain NaN or infinity. Replace them, or leave the chip out."""

    code = "non_finite"


class Negative(ChipError):
    """Negative samples, usually decibels. Send linear values, or `quantity=complex_pairs` for
    (re, im) pairs.
    """

    code = "negative"


class NotBackscatter(ChipError):
    """The file names its bands, and none is backscatter. Send a band of amplitude or sigma0."""

    code = "not_backscatter"


class NoData(ChipError):
    """More than half of what the model would see is no-data. Cut the chip out elsewhere."""

    code = "no_data"


class Blank(ChipError):
    """Every sample has the same value, so there is no ship in the chip. Leave it out."""

    code = "blank"


class OutsideScene(ChipError):
    """The position is in none of the scenes, or is no position. Correct it, or add its scene."""

    code = "outside_scene"


class OnLand(ChipError):
    """The position is on land, by the mask or polygons of `--land`. Leave it out."""

    code = "on_land"


class PolarisationMissing(ChipError):
    """The chip lacks the requested polarisation, or any that the model accepts. Request one that it
    has, or none.
    """

    code = "polarisation_missing"


class BadPixelSpacing(ChipError):
    """Pixel spacing outside 0.01 to 1000 m. Correct it, or remove wrong georeferencing."""

    code = "bad_pixel_spacing"


class ModelError(ShipchipError):
    """The model file cannot be used; nothing can be classified with it."""

    code = "bad_model"


class ModelNotFound(ModelError):
    """The model file is not there. Check `SHIPCHIP_MODEL`."""

    code = "model_not_found"


class ModelCorrupt(ModelError):
    """ONNX Runtime cannot load the file, or it does not match its `.sha256` file. Fetch both
    again.
    """

    code = "model_corrupt"


class CardMissing(ModelError):
    """The ONNX file has no shipchip card. Use a file that `training.run` exported."""

    code = "card_missing"


class CardInvalid(ModelError):
    """The card has an unknown schema or contradicts the graph. Export the model with this version,
    or use the version that exported it.
    """

    code = "card_invalid"


class ProviderUnavailable(ModelError):
    """A GPU or OpenVINO was required, but cannot be used. Install what it needs, or use `auto`."""

    code = "provider_unavailable"


class FolderNotEmpty(ShipchipError):
    """Samples are written into a new or empty folder only. Give another one, or empty it."""

    code = "folder_not_empty"


class ServiceError(ShipchipError):
    """The address does not answer like a shipchip service of this version. Check the address."""

    code = "service_error"


class ServiceUnavailable(ServiceError):
    """The service was unreachable or too busy on every attempt. Try again later."""

    code = "service_unavailable"


class ServiceRefused(ServiceError):
    """The service refused the whole request. Check `status` and `reason`, the code of the refusal.

    `reason` and `request_id` are None where something else answered, such as a proxy.
    """

    code = "service_refused"

    def __init__(
        self, message: str, *, status: int, reason: str | None, request_id: str | None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.request_id = request_id
