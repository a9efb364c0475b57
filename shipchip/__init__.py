"""shipchip classifies SAR chips. Torch-free.

from shipchip import ShipClassifier

ships = ShipClassifier()
answer = ships.classify_file("chip.tiff")
print(answer.label, answer.confidence, answer.prediction_set)

The names below are imported on first use, so that shipchip.client needs only the standard library.
"""

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

# ONNX Runtime 1.29 and later sends telemetry unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from shipchip.answer import Used
    from shipchip.card import InputSpec, ModelCard
    from shipchip.chip import Chip, DecodeLimits
    from shipchip.classifier import Prediction, ShipClassifier
    from shipchip.decode import decode
    from shipchip.errors import ChipError, ModelError, ShipchipError
    from shipchip.prepare import PreparedChip, prepare

__version__ = "0.1.0"

__all__ = [
    "Chip",
    "ChipError",
    "DecodeLimits",
    "InputSpec",
    "ModelCard",
    "ModelError",
    "Prediction",
    "PreparedChip",
    "ShipClassifier",
    "ShipchipError",
    "Used",
    "decode",
    "prepare",
]

_MODULES = {
    "Chip": "chip",
    "ChipError": "errors",
    "DecodeLimits": "chip",
    "InputSpec": "card",
    "ModelCard": "card",
    "ModelError": "errors",
    "Prediction": "classifier",
    "PreparedChip": "prepare",
    "ShipClassifier": "classifier",
    "ShipchipError": "errors",
    "Used": "answer",
    "decode": "decode",
    "prepare": "prepare",
}


class _Package(ModuleType):
    """This module, with its names loaded on first use."""

    def __getattr__(self, name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"{self.__name__}.{_MODULES[name]}"), name)
        setattr(self, name, found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing the module shipchip.decode must not hide the function of the same name.
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
