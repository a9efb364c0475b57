"""The plain way with BentoML: a picture in, an answer out, each request a model run of its own.

Decoding, preparing and trust are shipchip's, so only the serving differs. SHIPCHIP_MODEL names the
model file.
"""

import os
from typing import Any

import bentoml
import numpy as np
from PIL.Image import Image

from shipchip import ShipClassifier
from shipchip.chip import Chip


@bentoml.service(name="plain")
class Plain:
    """One picture a request."""

    def __init__(self) -> None:
        self.ships = ShipClassifier(os.environ["SHIPCHIP_MODEL"])

    @bentoml.api(route="/classify")  # type: ignore[untyped-decorator]
    def classify(self, image: Image) -> dict[str, Any]:
        """Label and probabilities of one chip."""
        amplitude = np.asarray(image, dtype=np.float32)[None]
        chip = Chip(amplitude, ("unknown",), None, "integer")
        answer = self.ships.classify([chip])[0]
        return {"label": answer.label, "probabilities": answer.probabilities}
