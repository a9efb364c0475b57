"""What /metrics tells beside BentoML's own figures: chips, requests, the queue, runs, and drift.

BentoML gives each worker PROMETHEUS_MULTIPROC_DIR; prometheus_client, where it finds that at its
import, keeps a worker's figures in files there, and /metrics adds up the files of all workers. So
counters and histograms are right with several workers, and what is worked out of counters (shares,
drift) is worked out of the sums, in `derived`, when /metrics is asked.

Each object has a registry of its own, so that a process may have two; the files know no registry.
"""

from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from pydantic import NonNegativeInt, TypeAdapter, ValidationError

from serving.chips import ChipFailure
from shipchip import ModelCard, Prediction
from shipchip.answer import Verdict

_CONFIDENCE = tuple(n / 20 for n in range(1, 21))
_OOD_SCORE = (0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3, 5, 10)
_QUEUE_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_RUN_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_BATCH = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 128, 256, 512, 1024)

Mix = Mapping[str, float]

_SOURCES = TypeAdapter(dict[str, dict[str, dict[str, NonNegativeInt]]])


class RequestMetrics:
    """Requests for classification by status and refusal code, "" where a request was taken; and
    their time."""

    def __init__(self) -> None:
        self._seconds = Histogram(
            "shipchip_request_seconds",
            "Seconds from a request's headers to its answer, its upload included",
            buckets=_QUEUE_S,
            registry=CollectorRegistry(),
        )
        self._requests = Counter(
            "shipchip_requests",
            "Requests for classification by status and code of refusal",
            ("status", "code"),
            registry=CollectorRegistry(),
        )

    def answered(self, status: int, code: str, seconds: float) -> None:
        """One request got its answer."""
        self._requests.labels(str(status), code).inc()
        self._seconds.observe(seconds)


class ModelMetrics:
    """The figures of one worker's model. `card` and `provider` name the model."""

    def __init__(self, card: ModelCard, sha256: str, provider: str) -> None:
        own: dict[str, Any] = {"registry": CollectorRegistry()}
        self._chips = Counter(
            "shipchip_chips", "Chips by outcome (ok, error) and code", ("outcome", "code"), **own
        )
        predictions = Counter(
            "shipchip_predictions",
            "Classified chips by label, and whether they are like the training chips",
            ("label", "in_distribution"),
            **own,
        )
        verdicts = Counter(
            "shipchip_verdicts",
            "Classified chips by verdict: sure, undecided, unlike",
            ("verdict",),
            **own,
        )
        self._verdicts = {verdict: verdicts.labels(verdict) for verdict in get_args(Verdict)}
        self._predictions = {
            (label, known): predictions.labels(label, str(known).lower())
            for label in card.classes
            for known in (True, False)
        }
        self._ok = self._chips.labels("ok", "")
        self._confidence = Histogram(
            "shipchip_confidence", "Confidence of labels", buckets=_CONFIDENCE, **own
        )
        self._ood = Histogram(
            "shipchip_ood_score",
            "Strangeness of chips; about 1 for training chips",
            buckets=_OOD_SCORE,
            **own,
        )
        self._queue = Gauge(
            "shipchip_queue_chips", "Chips that wait for a run", multiprocess_mode="livesum", **own
        )
        self._waited = Histogram(
            "shipchip_queue_seconds",
            "Seconds that chips of a request waited, once for each run they came to",
            buckets=_QUEUE_S,
            **own,
        )
        self._runs = Histogram(
            "shipchip_inference_seconds", "Seconds of one model run", buckets=_RUN_S, **own
        )
        self._batch = Histogram(
            "shipchip_batch_chips", "Chips in one model run", buckets=_BATCH, **own
        )
        names = ("name", "version", "sha256", "provider")
        info = Gauge(
            "shipchip_model_info", "1 for the model", names, multiprocess_mode="max", **own
        )
        info.labels(card.name, card.version, sha256, provider).set(1)
        self._trained_on = training_mix(card)

    def classified(self, results: Sequence[Prediction | ChipFailure]) -> None:
        """The results of one request."""
        for result in results:
            if isinstance(result, ChipFailure):
                self._chips.labels("error", result.code).inc()
                continue
            self._predictions[result.label, result.in_distribution].inc()
            self._verdicts[result.verdict].inc()
            self._confidence.observe(result.confidence)
            self._ood.observe(result.ood_score)
        classified = sum(isinstance(result, Prediction) for result in results)
        if classified:
            self._ok.inc(classified)

    def queue(self, chips: int) -> None:
        """How many chips wait now."""
        self._queue.set(chips)

    def waited(self, seconds: float) -> None:
        """Chips of one request waited so long for their run."""
        self._waited.observe(seconds)

    def ran(self, chips: int, seconds: float) -> None:
        """A model run of `chips` took so long."""
        self._batch.observe(chips)
        self._runs.observe(seconds)

    def derived(self, exposition: str) -> str:
        """`exposition`, the sums over all workers as /metrics shows them, with shares and drift."""
        predicted: Tally[str] = Tally()
        strange = 0.0
        lines = (k for k in exposition.splitlines(True) if k.startswith("shipchip_predictions_"))
        for family in text_string_to_metric_families("".join(lines)):
            for sample in family.samples:
                predicted[sample.labels["label"]] += int(sample.value)
                strange += sample.value * (sample.labels["in_distribution"] == "false")
        registry = CollectorRegistry()
        registry.register(_Derived(shares(predicted), self._trained_on, strange, predicted.total()))
        return exposition + generate_latest(registry).decode()


@dataclass(frozen=True, eq=False)  # a registry asks for a hash
class _Derived(Collector):
    """Gauges worked out when they are asked for; what has no chips to go by is left out."""

    predicted: Mix
    trained_on: Mix
    strange: float
    total: int

    def collect(self) -> Iterator[Metric]:
        """As prometheus_client asks for it."""
        share = GaugeMetricFamily(
            "shipchip_class_share",
            "Share of a class among the predictions since the start, and among the training chips",
            labels=("of", "label"),
        )
        for of, mix in (("predictions", self.predicted), ("training", self.trained_on)):
            for label, part in mix.items():
                share.add_metric((of, label), part)
        yield share
        if self.predicted:
            yield GaugeMetricFamily(
                "shipchip_out_of_distribution_share",
                "Share of classified chips that are unlike the training chips",
                value=self.strange / self.total,
            )
        if self.predicted and self.trained_on:
            yield GaugeMetricFamily(
                "shipchip_prediction_drift",
                "Total-variation distance of the mix of predictions from that of training, 0 to 1",
                value=drift(self.predicted, self.trained_on),
            )


def training_mix(card: ModelCard) -> Mix:
    """Share of each class among the chips that the model learnt from.

    Of card.training["sources"][source][class], the counts of all sides but "test". {} where the
    card has no such counts: what it says of its training is free in form.
    """
    try:
        sources = _SOURCES.validate_python(card.training.get("sources"))
    except ValidationError:
        return {}
    counts: Tally[str] = Tally()
    for classes in sources.values():
        for label, sides in classes.items():
            counts[label] += sum(chips for side, chips in sides.items() if side != "test")
    return shares(counts)


def shares(counts: Mapping[str, int]) -> Mix:
    """Counts as parts of their sum; {} where there are none."""
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()} if total else {}


def drift(mix: Mix, reference: Mix) -> float:
    """Total-variation distance: half the sum of |p - q| over all classes, 0 to 1."""
    names = {*mix, *reference}
    return sum(abs(mix.get(name, 0.0) - reference.get(name, 0.0)) for name in names) / 2
