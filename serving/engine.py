"""Chips -> results without ever blocking the event loop."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from serving.intake import ChipOptions, Failure, prepare_chip
from serving.settings import Settings
from shipchip import Prediction, ShipClassifier


class Engine:
    """A loaded model with the threads around it.

    Decoding runs on `decode_threads` threads. The model runs on one thread, batch after batch:
    ONNX Runtime parallelises within a run, and two runs at a time would only share its cores.

    Raises a ModelError where the model file cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.ships = ShipClassifier(
            settings.model, device=settings.device, threads=settings.threads
        )
        self.ready = False
        self._limits = settings.decode_limits()
        self._batch_size = settings.batch_size
        self._decoders = ThreadPoolExecutor(settings.decode_threads, "decode")
        self._runner = ThreadPoolExecutor(1, "model")

    def warm_up(self) -> None:
        """Let the model answer once; only then is the engine `ready`."""
        size = self.ships.card.input.size
        self.ships.predict(np.zeros((1, 1, size, size), np.float32), explain=True)
        self.ready = True

    async def classify(
        self, files: Sequence[bytes], options: ChipOptions, *, explain: bool
    ) -> list[Prediction | Failure]:
        """One result a file, in order. A bad chip fails alone, before the batch."""
        loop = asyncio.get_running_loop()
        prepare = partial(prepare_chip, options=options, ships=self.ships, limits=self._limits)
        prepared = await asyncio.gather(
            *(loop.run_in_executor(self._decoders, prepare, data) for data in files)
        )
        inputs = [item for item in prepared if not isinstance(item, Failure)]
        predictions = iter(await self.classify_inputs(inputs, explain=explain))
        return [item if isinstance(item, Failure) else next(predictions) for item in prepared]

    async def classify_inputs(
        self, inputs: Sequence[NDArray[np.float32]], *, explain: bool
    ) -> list[Prediction]:
        """Predictions for prepared inputs, (1, S, S) each, in order.

        The seam of batching: batches are formed within one request here; whatever joins chips of
        several requests takes this method's place.
        """
        loop = asyncio.get_running_loop()
        predictions: list[Prediction] = []
        for start in range(0, len(inputs), self._batch_size):
            batch = np.stack(inputs[start : start + self._batch_size])
            run = partial(self.ships.predict, batch, explain=explain)
            predictions += await loop.run_in_executor(self._runner, run)
        return predictions

    def close(self) -> None:
        """Finish what is running, drop what has not begun."""
        self.ready = False
        self._decoders.shutdown(cancel_futures=True)
        self._runner.shutdown(cancel_futures=True)
