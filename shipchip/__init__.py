"""shipchip: a SAR chip becomes an answer. Torch-free.

from shipchip import ShipClassifier

ships = ShipClassifier("models/ship.onnx")
answer = ships.classify_file("chip.tiff")
print(answer.label, answer.confidence, answer.prediction_set)
"""

import os

# ONNX Runtime tells its maker of models and runs (1.29 and later), if it is not told not to before
# it is imported. Nothing here tells anybody anything.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from shipchip.card import InputSpec, ModelCard
from shipchip.classifier import Prediction, ShipClassifier
from shipchip.decode import Chip, decode
from shipchip.errors import ChipError, ModelError, ShipchipError
from shipchip.prepare import prepare
from shipchip.raster import DecodeLimits

__version__ = "0.1.0"

__all__ = [
    "Chip",
    "ChipError",
    "DecodeLimits",
    "InputSpec",
    "ModelCard",
    "ModelError",
    "Prediction",
    "ShipClassifier",
    "ShipchipError",
    "decode",
    "prepare",
]
