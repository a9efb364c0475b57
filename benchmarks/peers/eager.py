"""A card's networks in torch, eagerly, in batches of 32: python -m benchmarks.peers.eager SECONDS

No HTTP, no experts on measurements; untrained weights, which take as long. Reads the card as JSON
on standard input, and prints chips a second.
"""

import json
import sys
import time
from statistics import median

import torch

from training.config import ModelConfig
from training.network.models import build

BATCH = 32


def main() -> int:
    """See the module."""
    card = json.load(sys.stdin)
    config = card["training"]["config"]
    network = ModelConfig.model_validate(config["model"])
    nets = [build(network, len(card["classes"])).eval() for _ in range(config.get("members", 1))]
    size = card["input"]["size"]
    chips = torch.rand(BATCH, 1, size, size)
    views = (chips, chips.flip(-1)) if "mirror" in card["architecture"] else (chips,)
    times = []
    end = time.perf_counter() + float(sys.argv[1])
    with torch.inference_mode():
        while (start := time.perf_counter()) < end:
            for net in nets:
                for view in views:
                    net(view)
            times.append(time.perf_counter() - start)
    sys.stdout.write(str(BATCH / median(times)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
