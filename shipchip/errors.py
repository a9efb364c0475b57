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
    │   ├── Blank                        blank
    │   ├── PolarisationMissing          polarisation_missing
    │   └── BadPixelSpacing              bad_pixel_spacing
    ├── ModelError                       (a model file that cannot be used)
    │   ├── ModelNotFound                model_not_found
    │   ├── ModelCorrupt                 model_corrupt
    │   ├── CardMissing                  card_missing
    │   ├── CardInvalid                  card_invalid
    │   └── ProviderUnavailable          provider_unavailable
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
    code = "not_found"


class Unreadable(ChipError):
    """The path exists, but is not a regular file or may not be read."""

    code = "unreadable"


class Empty(ChipError):
    code = "empty"


class TooLarge(ChipError):
    """More bytes than the limit allows; nothing was read."""

    code = "too_large"


class UnsupportedFormat(ChipError):
    code = "unsupported_format"


class Truncated(ChipError):
    """The header promises more data than the file holds."""

    code = "truncated"


class Corrupt(ChipError):
    """The right format, but its content contradicts itself."""

    code = "corrupt"


class TooManyPixels(ChipError):
    """The header announces more pixels than the limit; none were decoded."""

    code = "too_many_pixels"


class TooSmall(ChipError):
    code = "too_small"


class NotGrey(ChipError):
    """A colour picture: a screenshot or a plot, not radar amplitude."""

    code = "not_grey"


class UnsupportedBands(ChipError):
    code = "unsupported_bands"


class NonFinite(ChipError):
    """NaN or infinity among the samples."""

    code = "non_finite"


class Negative(ChipError):
    """Negative samples where amplitude or sigma0 was expected (decibels, most often)."""

    code = "negative"


class Blank(ChipError):
    """Every sample has the same value: there is no ship in it."""

    code = "blank"


class PolarisationMissing(ChipError):
    code = "polarisation_missing"


class BadPixelSpacing(ChipError):
    code = "bad_pixel_spacing"


class ModelError(ShipchipError):
    """The model file cannot be used; nothing can be classified with it."""

    code = "bad_model"


class ModelNotFound(ModelError):
    code = "model_not_found"


class ModelCorrupt(ModelError):
    """Not an ONNX file that ONNX Runtime can load."""

    code = "model_corrupt"


class CardMissing(ModelError):
    """An ONNX file without a shipchip card."""

    code = "card_missing"


class CardInvalid(ModelError):
    """A card of an unknown schema, or one that contradicts the graph it travels with."""

    code = "card_invalid"


class ProviderUnavailable(ModelError):
    """A GPU was required, but ONNX Runtime cannot use one here."""

    code = "provider_unavailable"


class ServiceError(ShipchipError):
    """The service cannot be used, or the answer does not come from a shipchip service."""

    code = "service_error"


class ServiceUnavailable(ServiceError):
    """The service was not reached, or was too busy, after all tries."""

    code = "service_unavailable"


class ServiceRefused(ServiceError):
    """The service refused a whole request, with an HTTP `status`, and `reason`, a code of its own.

    `reason` and `request_id` are None if something else answered, such as a proxy.
    """

    code = "service_refused"

    def __init__(
        self, message: str, *, status: int, reason: str | None, request_id: str | None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.request_id = request_id
