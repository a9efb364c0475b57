"""A heavier model to serve: python -m benchmarks.vgg FILE --size 64

Writes the paper's VGG16 at its full width, untrained, for chips of that size in pixels. Its
answers are noise, but it takes as long as a trained one.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from shipchip import ShipClassifier
from training.config import ModelConfig
from training.export import export_onnx
from training.network.models import build

ROOT = Path(__file__).parent.parent


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="benchmarks.vgg", description=__doc__)
    parser.add_argument("path", type=Path, metavar="FILE", help="the .onnx file to write")
    parser.add_argument("--size", type=int, default=64, help="pixels of a side (default: 64)")
    args = parser.parse_args()
    path, size = args.path, args.size
    torch.manual_seed(0)
    network = build(ModelConfig(name="vgg16", width=1.0), 3).eval()
    chips = np.random.default_rng(0).normal(size=(32, 1, size, size)).astype(np.float32)
    with torch.inference_mode():
        width = network(torch.from_numpy(chips)).embedding.shape[1]
    shipped = ShipClassifier(ROOT / "models" / "ship.onnx").card
    eye = tuple(tuple(map(float, row)) for row in np.eye(8, width))
    ood = {"mean": (0.0,) * width, "components": eye, "variances": (1.0,) * 8}
    card = shipped.model_copy(
        update={
            "name": "vgg16-untrained",
            "architecture": "vgg16",
            "input": shipped.input.model_copy(update={"size": size}),
            "trust": shipped.trust.model_copy(
                update={"ood": shipped.trust.ood.model_copy(update=ood)}
            ),
            "metrics": {},
            "training": {"config": {"model": {"name": "vgg16", "width": 1.0}}},
        }
    )
    export_onnx(network, card, path, chips)
    return 0


if __name__ == "__main__":
    sys.exit(main())
