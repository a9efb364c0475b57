"""LitServe with its batching: python -m benchmarks.peers.lit PORT

Decoding, preparing and trust are shipchip's, so only the serving differs. SHIPCHIP_MODEL names the
model file. LitServe is in none of the project's environments: `benchmarks.serving --litserve`.
"""

import os
import sys
from typing import Any

import litserve

from shipchip import Prediction, PreparedChip, ShipClassifier, decode


class ShipApi(litserve.LitAPI):  # type: ignore[misc]  # litserve is not installed where mypy runs
    """One chip a request, up to 32 a run."""

    def setup(self, device: str) -> None:
        """In the process of the model."""
        del device
        self.ships = ShipClassifier(os.environ["SHIPCHIP_MODEL"])

    # LitServe reads the annotation of `request`: with none, it gives the form.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        """An uploaded file, prepared."""
        return self.ships.prepare(decode(request["image"].file.read()))

    def batch(self, inputs: list[PreparedChip]) -> list[PreparedChip]:
        """The classifier joins them itself."""
        return inputs

    def predict(self, x: list[PreparedChip]) -> list[Prediction]:
        """A run."""
        return self.ships.predict(x)

    def unbatch(self, output: list[Prediction]) -> list[Prediction]:
        """They are apart already."""
        return output

    def encode_response(self, output: Prediction) -> dict[str, Any]:
        """Label and probabilities of one chip."""
        return {"label": output.label, "probabilities": output.probabilities}


def main() -> None:
    """Serve until it is ended."""
    # A chip that finds the model idle is not held up for long: 5 ms is one run of one chip.
    api = ShipApi(max_batch_size=32, batch_timeout=0.005, api_path="/classify")
    server = litserve.LitServer(api, accelerator="cpu", healthcheck_path="/readyz")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)


if __name__ == "__main__":
    main()
