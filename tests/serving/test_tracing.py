"""Traces: none by default; with BentoML's own configuration a span per request, to a collector."""

import importlib.util
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.docs.blocks import blocks
from tests.serving.server import ROOT, environment, free_port, serving

pytestmark = pytest.mark.slow

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"  # a W3C traceparent, sampled
# OpenTelemetry's own way to put a header of the answer into the span.
CAPTURE = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE"
# In the place of opentelemetry-exporter-otlp-proto-http, which the locks do not have: it gives the
# collector what BentoML and OpenTelemetry hand to an exporter, as JSON instead of protobuf.
STAND_IN = """
import json, urllib.request
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

class OTLPSpanExporter(SpanExporter):
    def __init__(self, endpoint, compression, timeout, certificate_file, headers):
        self.endpoint = endpoint

    def export(self, spans):
        body = json.dumps([json.loads(span.to_json()) for span in spans]).encode()
        urllib.request.urlopen(self.endpoint, body, timeout=5).close()
        return SpanExportResult.SUCCESS
"""


@dataclass(frozen=True)
class Span:
    """One unit of work; ids are hexadecimal digits, `parent` is "" where there is none."""

    name: str
    trace: str
    parent: str
    attributes: dict[str, Any]
    service: str


@dataclass
class Collector:
    """Where traces go: an OTLP endpoint on the loopback address, and the bodies that came."""

    url: str
    bodies: list[bytes] = field(default_factory=list)


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name is http.server's
            collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing: the output of tests is read by people."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def spans_of_json(body: bytes) -> list[Span]:
    """What the stand-in sends."""
    return [
        Span(
            span["name"],
            span["context"]["trace_id"].removeprefix("0x"),
            (span["parent_id"] or "").removeprefix("0x"),
            span["attributes"],
            span["resource"]["attributes"]["service.name"],
        )
        for span in json.loads(body)
    ]


def spans_of_otlp(body: bytes) -> list[Span]:
    """What the real exporter sends: protobuf."""
    request = importlib.import_module(
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2"
    ).ExportTraceServiceRequest()
    request.ParseFromString(body)
    return [
        Span(span.name, span.trace_id.hex(), span.parent_span_id.hex(), values(span), service)
        for resource in request.resource_spans
        for service in [values(resource.resource)["service.name"]]
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def values(message: Any) -> dict[str, Any]:
    """The attributes of an OTLP message."""
    return {item.key: plain(item.value) for item in message.attributes}


def plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    return getattr(value, kind)


def configuration(folder: Path, endpoint: str) -> Path:
    """BentoML's configuration file, as docs/operations.md has it."""
    (text,) = [b.text for b in blocks("yaml") if b.file == "operations.md" and "tracing" in b.text]
    file = folder / "bentoml.yaml"
    file.write_text(re.sub(r"http://\S+/v1/traces", endpoint, text))
    return file


def installed() -> bool:
    return importlib.util.find_spec("opentelemetry.exporter") is not None


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A folder with the stand-in, to be on PYTHONPATH."""
    package = tmp_path / "exporter" / "opentelemetry" / "exporter" / "otlp" / "proto" / "http"
    package.mkdir(parents=True)
    (package / "trace_exporter.py").write_text(STAND_IN)
    return tmp_path / "exporter"


@pytest.mark.parametrize(
    ("read", "real"),
    [
        pytest.param(spans_of_json, False, id="stand-in"),
        pytest.param(
            spans_of_otlp,
            True,
            id="otlp",
            marks=pytest.mark.skipif(not installed(), reason="no OTLP exporter here"),
        ),
    ],
)
def test_a_request_gives_a_span_that_goes_on_the_callers_trace_and_has_the_request_id(
    model: Path,
    png: dict[str, bytes],
    tmp_path: Path,
    stand_in: Path,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[bytes], list[Span]],
    real: bool,
) -> None:
    if not real:
        monkeypatch.setenv("PYTHONPATH", str(stand_in))
    monkeypatch.setenv(CAPTURE, "X-Request-ID")
    with collecting() as collector:
        monkeypatch.setenv("BENTOML_CONFIG", str(configuration(tmp_path, collector.url)))
        with serving(model, tmp_path / "log.txt") as client:
            chip = ("files", ("a.png", png["Cargo"]))
            answers = [
                client.post("/v1/classify", files=[chip], headers={"traceparent": CALLER}),
                client.post("/v1/classify", files=[("files", ("b.png", b"no chip"))]),
            ]
            client.get("/metrics")
        spans = [span for body in collector.bodies for span in read(body)]
    assert [answer.status_code for answer in answers] == [200, 422]
    requests = [
        span for span in spans if "http.status_code" in span.attributes and span.parent == ""
    ]
    requests += [span for span in spans if span.parent == CALLER.split("-")[2]]
    assert {span.service for span in spans} == {"shipchip"}
    reported = {
        span.attributes["http.response.header.x_request_id"][0]: span.attributes["http.status_code"]
        for span in requests
    }
    assert reported == {answer.headers["X-Request-ID"]: answer.status_code for answer in answers}
    (joined,) = [span for span in requests if span.parent]
    assert (joined.name, joined.trace) == ("POST /v1/classify", CALLER.split("-")[1])


def test_by_default_nothing_is_exported_though_an_exporter_is_there(
    model: Path,
    png: dict[str, bytes],
    tmp_path: Path,
    stand_in: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(stand_in))
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.url)
        with serving(model, tmp_path / "log.txt") as client:
            chip = ("files", ("a.png", png["Cargo"]))
            client.post("/v1/classify", files=[chip], headers={"traceparent": CALLER})
        assert collector.bodies == []


@pytest.mark.parametrize("exported", [False, True])
def test_requests_have_spans_only_if_an_exporter_is_configured(
    model: Path, tmp_path: Path, exported: bool
) -> None:
    environ = environment(model)
    if exported:
        environ["BENTOML_CONFIG"] = str(configuration(tmp_path, "http://127.0.0.1:9/v1/traces"))
    script = "from serving.service import Shipchip; print(Shipchip.config['tracing'])"
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ("{}" if exported else "{'excluded_urls': '.*'}")


@pytest.mark.skipif(installed(), reason="the OTLP exporter is installed here")
def test_a_missing_exporter_is_one_line_and_no_worker(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}/v1/traces"
    monkeypatch.setenv("BENTOML_CONFIG", str(configuration(tmp_path, endpoint)))
    ended = subprocess.run(
        [sys.executable, "-m", "bentoml", "serve", "--host", "127.0.0.1", "--port", "0"],
        cwd=ROOT,
        env=environment(model),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("shipchip: ")]
    assert line == (
        "shipchip: cannot serve: tracing.exporter_type is otlp: No module named "
        "'opentelemetry.exporter'; install its exporter, as docs/operations.md says under Traces, "
        "or unset it"
    )
    assert "Traceback" not in ended.stderr + ended.stdout


def test_a_collector_that_is_away_disturbs_neither_requests_nor_the_end(
    model: Path,
    png: dict[str, bytes],
    tmp_path: Path,
    stand_in: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not installed():
        monkeypatch.setenv("PYTHONPATH", str(stand_in))
    endpoint = f"http://127.0.0.1:{free_port()}/v1/traces"
    monkeypatch.setenv("BENTOML_CONFIG", str(configuration(tmp_path, endpoint)))
    with serving(model, tmp_path / "log.txt") as client:
        chip = ("files", ("a.png", png["Cargo"]))
        assert client.post("/v1/classify", files=[chip]).status_code == 200
        end = time.monotonic()
    assert time.monotonic() - end < 15


def test_the_manual_installs_the_exporter_of_the_locked_opentelemetry() -> None:
    manual = (ROOT / "docs" / "operations.md").read_text()
    (reported,) = re.findall(r"opentelemetry-exporter-otlp-proto-http==([\d.]+)", manual)
    lock = (ROOT / "locks" / "serve-cpu.txt").read_text()
    assert f"opentelemetry-sdk=={reported} " in lock
