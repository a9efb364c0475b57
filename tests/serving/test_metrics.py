"""/metrics of a service with two workers, added up right, and the dashboard that asks for them."""

import json
import re
import socket
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.metrics import ModelMetrics, drift, shares, training_mix
from shipchip import ShipClassifier, decode
from tests.serving.server import ROOT, serving
from tests.tiny_model import tiny_card, write_tiny_model

SOURCES = {
    "fusar": {
        "Cargo": {"train": 50, "validation": 10, "test": 900},
        "Fishing": {"train": 20, "validation": 0, "test": 0},
    },
    "opensarship": {"Tanker": {"train": 15, "validation": 5, "test": 7}},
}
CARD = tiny_card(training={"sources": SOURCES})
Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Two workers; each request on a connection of its own, so that both get some."""
    folder = tmp_path_factory.mktemp("service")
    model = write_tiny_model(folder / "tiny.onnx", CARD)
    with serving(model, folder / "log.txt", workers=2, device="cpu", threads=1) as client:
        client.headers["Connection"] = "close"
        yield client


@pytest.fixture(scope="module")
def figures(service: httpx.Client, png: dict[str, bytes]) -> Figures:
    """/metrics after 30 requests: 30 Cargo, 10 Fishing, 20 empty files, 5 refusals of the whole."""
    for i in range(30):
        files = [("files", ("a", png["Cargo"]))]
        files += [("files", ("b", png["Fishing"]))] * (i < 10) + [("files", ("c", b""))] * (i < 20)
        assert service.post("/v1/classify", files=files).status_code == 200
    for _ in range(5):
        assert service.post("/v1/classify", data={"explain": "true"}).status_code == 400
    return read(service.get("/metrics").text)


def read(exposition: str) -> Figures:
    """(name, labels) -> value of every sample."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


def value(figures: Figures, name: str, **labels: str) -> float:
    return figures[name, tuple(sorted(labels.items()))]


def of(figures: Figures, name: str) -> dict[tuple[str, ...], float]:
    """The samples of `name` that are not 0, by the values of their labels in alphabetic order."""
    found = {tuple(v for _, v in labels): n for (who, labels), n in figures.items() if who == name}
    return {labels: n for labels, n in found.items() if n}


def test_chips_and_requests_are_counted_over_all_workers(figures: Figures) -> None:
    assert of(figures, "shipchip_chips_total") == {("", "ok"): 40, ("empty", "error"): 20}
    assert of(figures, "shipchip_requests_total") == {
        ("", "200"): 30,
        ("wrong_content_type", "400"): 5,
    }
    by_label = [value for _, value in sorted(of(figures, "shipchip_predictions_total").items())]
    assert sum(by_label) == 40


def test_every_classified_chip_is_counted_under_its_verdict(
    figures: Figures, ships: ShipClassifier, png: dict[str, bytes]
) -> None:
    expected = dict.fromkeys(("sure", "undecided", "unlike"), 0)
    for label, count in (("Cargo", 30), ("Fishing", 10)):
        expected[ships.classify([decode(png[label])])[0].verdict] += count
    names = [("verdict", name) for name in expected]
    found = {name: figures["shipchip_verdicts_total", ((key, name),)] for key, name in names}
    assert found == expected


def test_both_workers_answered_and_say_the_same(service: httpx.Client, figures: Figures) -> None:
    for _ in range(6):
        again = read(service.get("/metrics").text)
        assert of(again, "shipchip_predictions_total") == of(figures, "shipchip_predictions_total")


def test_confidence_and_strangeness_have_a_count_a_chip(figures: Figures) -> None:
    for name in ("shipchip_confidence", "shipchip_ood_score"):
        assert value(figures, f"{name}_count") == 40
        assert value(figures, f"{name}_bucket", le="+Inf") == 40
    assert value(figures, "shipchip_confidence_bucket", le="0.3") == 0


def test_runs_and_waits_are_measured(figures: Figures) -> None:
    assert value(figures, "shipchip_batch_chips_sum") == 40
    runs = value(figures, "shipchip_batch_chips_count")
    assert value(figures, "shipchip_inference_seconds_count") == runs
    assert value(figures, "shipchip_inference_seconds_sum") > 0
    assert value(figures, "shipchip_queue_seconds_count") == 30
    requests = sum(count for _, count in of(figures, "shipchip_requests_total").items())
    assert value(figures, "shipchip_request_seconds_count") == requests
    # Of a request's time, some is waiting.
    waited = value(figures, "shipchip_queue_seconds_sum")
    assert value(figures, "shipchip_request_seconds_sum") > waited
    assert value(figures, "shipchip_queue_chips") == 0


def test_the_mix_of_predictions_is_shown_beside_that_of_training(figures: Figures) -> None:
    share = of(figures, "shipchip_class_share")
    assert share == {
        ("Cargo", "predictions"): 0.75,
        ("Fishing", "predictions"): 0.25,
        ("Cargo", "training"): 0.6,
        ("Fishing", "training"): 0.2,
        ("Tanker", "training"): 0.2,
    }
    assert value(figures, "shipchip_prediction_drift") == pytest.approx(0.2)


def test_the_share_out_of_distribution_is_that_of_the_counters(figures: Figures) -> None:
    counts = of(figures, "shipchip_predictions_total")
    strange = sum(n for (known, _), n in counts.items() if known == "false")
    assert value(figures, "shipchip_out_of_distribution_share") == pytest.approx(strange / 40)


def test_the_model_is_named(figures: Figures) -> None:
    ((labels, one),) = of(figures, "shipchip_model_info").items()
    name, provider, sha256, version = labels
    assert (name, provider, version, one) == ("tiny", "CPUExecutionProvider", "0.0.1-test", 1)
    assert re.fullmatch("[0-9a-f]{64}", sha256)


def test_every_metric_that_the_dashboard_asks_for_is_exposed(figures: Figures) -> None:
    dashboard = json.loads((ROOT / "deploy" / "grafana.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    names = {name for expr in asked for name in re.findall(r"\bshipchip_\w+", expr)}
    assert len(names) > 10
    assert names <= {name for name, _ in figures}


def test_every_metric_of_ours_is_on_the_dashboard(figures: Figures) -> None:
    text = (ROOT / "deploy" / "grafana.json").read_text()
    ours = {name for name, _ in figures if name.startswith("shipchip_")}
    families = {re.sub("_(bucket|sum|count|total)$", "", name) for name in ours}
    assert {name for name in families if name not in text} == set()


def test_an_answer_after_a_refusal_on_one_connection_is_counted_without_its_code(
    service: httpx.Client, figures: Figures
) -> None:
    """Pipelined: uvicorn starts the second request in the context that the first one left."""
    before = of(figures, "shipchip_requests_total")
    bad = service.build_request("POST", "/v1/classify", files=[("files", ("empty.png", b""))])
    post = "POST /v1/classify HTTP/1.1\r\nHost: a\r\n"
    length, kind = bad.headers["Content-Length"], bad.headers["Content-Type"]
    head = f"{post}Connection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    address = (service.base_url.host, service.base_url.port)
    with socket.create_connection(address, 20) as raw, raw.makefile("rb") as answers:
        raw.sendall(f"{post}Content-Length: 0\r\n\r\n{head}".encode() + bad.read())
        assert re.findall(rb"HTTP/1.1 (\d+)", answers.read()) == [b"400", b"422"]
    after = of(read(service.get("/metrics").text), "shipchip_requests_total")
    assert after == {**before, ("wrong_content_type", "400"): 6, ("", "422"): 1}


def test_the_training_mix_counts_all_chips_that_were_learnt_from() -> None:
    assert training_mix(CARD) == {"Cargo": 0.6, "Fishing": 0.2, "Tanker": 0.2}


@pytest.mark.parametrize(
    "training",
    [{}, {"sources": "by hand"}, {"sources": {"own": 3}}, {"sources": {"own": {"Cargo": {}}}}],
)
def test_a_card_without_counts_gives_no_mix_and_no_drift(training: dict[str, object]) -> None:
    card = tiny_card(training=training)
    assert training_mix(card) == {}
    counted = 'shipchip_predictions_total{in_distribution="false",label="Cargo"} 2.0\n'
    reported = ModelMetrics(card, "sha", "provider").derived(counted)
    assert "shipchip_prediction_drift" not in reported
    assert 'shipchip_class_share{label="Cargo",of="predictions"} 1.0' in reported.replace(
        'of="predictions",label="Cargo"', 'label="Cargo",of="predictions"'
    )
    assert "shipchip_out_of_distribution_share 1.0" in reported


def test_nothing_is_divided_by_zero_before_the_first_chip() -> None:
    reported = ModelMetrics(CARD, "sha", "provider").derived("")
    assert "shipchip_prediction_drift" not in reported
    assert "shipchip_out_of_distribution_share" not in reported


def test_drift_is_half_the_sum_of_differences_over_the_classes_of_both() -> None:
    assert drift({"a": 1.0}, {"a": 1.0}) == 0
    assert drift({"a": 1.0}, {"b": 1.0}) == 1
    assert drift({"a": 0.5, "b": 0.5}, {"a": 0.2, "b": 0.5, "c": 0.3}) == pytest.approx(0.3)
    assert shares({"a": 0}) == {}
