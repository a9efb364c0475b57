"""The BentoML service: endpoints, nothing else.

    POST /v1/classify          chips -> labels, one result a file; multipart, or JSON with base64
    POST /v1/classify_base64   the same, under the name that it had for JSON
    GET  /v1/model             the card, the file's sha256, the execution provider, the limits
    GET  /docs.json, /docs     the description of all this, and a page that sends requests
    GET  /demo                 the page for chips (serving.page); / leads to it

BentoML routes its APIs by POST only, so the GETs are Starlette routes mounted beside them.

A request goes through the middleware of serving.http, which reads its form, then through BentoML's
router to the API below, which does the work.
"""

from http import HTTPStatus
from typing import Any

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving import logs, preflight, server
from serving.access import Cors
from serving.chips import ChipOptions, Polarisation
from serving.engine import Engine
from serving.forms import Upload
from serving.http import CLASSIFY, CLASSIFY_BASE64, RequestMiddleware
from serving.openapi import DOCS, MODEL, ClassifyForm, openapi_json
from serving.page import page_routes
from serving.refusals import Refused, envelope, json_response, request_id
from serving.schema import ClassifyResponse, chip_result, model_info, model_name
from shipchip.chip import Quantity

settings = preflight.settings_or_exit()
server.own_metrics_folder()


async def get_model(request: Request) -> Response:
    """The model that answers, as serving.schema.ModelInfo."""
    return json_response(request.app.state.service.model_info, HTTPStatus.OK)


async def get_openapi(request: Request) -> Response:
    """The description of the API; BentoML's own has no GET routes and none of our errors."""
    del request
    return json_response(openapi_json(), HTTPStatus.OK)


routes = Starlette(
    routes=[
        Route(MODEL, get_model, methods=["GET"]),
        Route(DOCS, get_openapi, methods=["GET"]),
        *page_routes(),
    ]
)
routes.router.redirect_slashes = False  # see serving.http


@bentoml.service(
    name="shipchip",
    description="Tells Cargo, Fishing and Tanker apart on small SAR chips of one ship each.",
    workers=settings.workers,
    # serving.http ends every request at `timeout_s`, in our own words: before BentoML would.
    traffic={"timeout": settings.timeout_s + 10},
    logging={"access": {"enabled": False}},  # serving.logs writes the line of a request
    # Spans that nobody collects took a fifth of the event loop's time.
    tracing={} if server.traces_are_exported() else {"excluded_urls": ".*"},
)
@bentoml.asgi_app(routes)
class Shipchip:
    """One process's model. A model file that cannot be used is a ModelError here."""

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def check() -> None:
        """Once, before workers are started: what cannot be served ends `bentoml serve`."""
        server.port_or_exit()
        server.tracing_or_exit()
        logs.configure(settings)
        preflight.model_or_exit()
        server.say_where()

    def __init__(self) -> None:
        logs.configure(settings)
        self.engine = Engine(settings)
        server.forget_dead_workers()
        self.model = model_name(self.engine.ships)
        self.model_info = model_info(self.engine.ships, settings).model_dump_json(by_alias=True)
        routes.state.service = self

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    def warm_up(self) -> None:
        """Before the first request is taken."""
        self.engine.warm_up()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def close(self) -> None:
        """At the end: what was accepted is answered first."""
        await self.engine.drain()
        self.engine.close()
        await server.export_last_spans()

    def __metrics__(self, exposition: str) -> str:
        """What BentoML asks for at /metrics, after it has added up the figures of all workers."""
        return self.engine.metrics.derived(exposition)

    async def __is_ready__(self) -> bool:
        """What /readyz tells: whether the model has answered its warm-up."""
        return self.engine.ready

    @bentoml.api(  # type: ignore[untyped-decorator]
        route=CLASSIFY, input_spec=ClassifyForm, output_spec=ClassifyResponse
    )
    async def classify(
        self,
        files: list[Upload],
        pixel_spacing_m: tuple[float, float] | None,
        explain: bool,
        polarisation: Polarisation | None,
        quantity: Quantity,
    ) -> Response:
        """Classify one chip or many; 422 where not one of them could be."""
        options = ChipOptions(polarisation, pixel_spacing_m, quantity)
        try:
            results = await self.engine.classify(
                [file.content for file in files], options, explain=explain
            )
        except Refused as refused:
            return envelope(refused)
        answer = ClassifyResponse(
            request_id=request_id.get(),
            model=self.model,
            results=[chip_result(f.filename, r) for f, r in zip(files, results, strict=True)],
        )
        failed = sum(result.status == "error" for result in answer.results)
        logs.note(chips=len(files), failed=failed)
        status = HTTPStatus.OK if failed < len(files) else HTTPStatus.UNPROCESSABLE_ENTITY
        return json_response(answer.model_dump_json(), status)

    @bentoml.api(  # type: ignore[untyped-decorator]
        route=CLASSIFY_BASE64, input_spec=ClassifyForm, output_spec=ClassifyResponse
    )
    async def classify_base64(
        self,
        files: list[Upload],
        pixel_spacing_m: tuple[float, float] | None,
        explain: bool,
        polarisation: Polarisation | None,
        quantity: Quantity,
    ) -> Response:
        """The same as classify."""
        answer: Response = await type(self).classify.func(
            self, files, pixel_spacing_m, explain, polarisation, quantity
        )
        return answer


def check_capacity() -> None:
    """Refused (429, 503) if this process would not accept even one chip."""
    routes.state.service.engine.check_capacity()


def _add_middleware(service: bentoml.Service[Any]) -> None:
    """What a request goes through before BentoML's router; the first is the outermost."""
    service.add_asgi_middleware(server.KeepAlive, seconds=settings.keep_alive_s)
    service.add_asgi_middleware(logs.RequestLog)
    if settings.cors_origins:
        service.add_asgi_middleware(Cors, settings=settings)
    service.add_asgi_middleware(RequestMiddleware, check_capacity=check_capacity, settings=settings)


_add_middleware(Shipchip)
