"""The BentoML service: endpoints, nothing else.

    POST /v1/classify          chips -> labels, one result a file (serving.http, serving.engine)
    POST /v1/classify_base64   the same from JSON, for clients that cannot send multipart
    GET  /v1/model             the card, the file's sha256, the execution provider, the limits
    GET  /demo                 the page (serving.page); / leads to it

BentoML routes its APIs by POST only, so the GETs are Starlette routes mounted beside them.

A form is read and answered before BentoML sees the request: BentoML's way to an API (a metric, a
span, a timer, the router, the binding of arguments) takes as much processor time as all the rest of
a small request (docs/performance.md). The APIs below tell BentoML and its clients what there is.
"""

from http import HTTPStatus

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from serving import logs, preflight, server
from serving.access import Cors
from serving.chips import ChipOptions, Polarisation
from serving.engine import Engine
from serving.forms import Form, Upload
from serving.http import CLASSIFY, CLASSIFY_BASE64, RequestMiddleware
from serving.openapi import MODEL, ClassifyForm, DocumentedService
from serving.page import page_routes
from serving.refusals import Refused, envelope, json_response, request_id
from serving.schema import ClassifyResponse, chip_result, model_info, model_name
from shipchip.chip import Quantity

settings = preflight.settings_or_exit()
server.own_metrics_folder()


async def get_model(request: Request) -> Response:
    """The model that answers, as serving.schema.ModelInfo."""
    return json_response(request.app.state.service.model_info, HTTPStatus.OK)


routes = Starlette(routes=[Route(MODEL, get_model, methods=["GET"]), *page_routes()])
routes.router.redirect_slashes = False  # see to_asgi


class FrontedService(DocumentedService):
    """A BentoML service behind our log, access, limits, and answers to forms."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """What a worker serves."""
        app = super().to_asgi(is_main)
        # A redirect to the path without its last slash would be absolute: of the scheme and the
        # path that this process sees, which a proxy may have changed. Now it is a 404.
        app.router.redirect_slashes = False
        limited = RequestMiddleware(app, lambda: routes.state.service, settings)
        logged = logs.RequestLog(Cors(limited, settings) if settings.cors_origins else limited)
        return server.KeepAlive(logged, settings.keep_alive_s)


@bentoml.service(
    name="shipchip",
    description="Tells Cargo, Fishing and Tanker apart on small SAR chips of one ship each.",
    service_class=FrontedService,
    workers=settings.workers,
    # serving.http ends every request at `timeout_s`, in our own words: before BentoML would.
    traffic={"timeout": settings.timeout_s + 10},
    logging={"access": {"enabled": False}},  # serving.logs writes the line of a request
)
@bentoml.asgi_app(routes)
class Shipchip:
    """One process's model. A model file that cannot be used is a ModelError here."""

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def check() -> None:
        """Once, before workers are started: what cannot be served ends `bentoml serve`."""
        server.port_or_exit()
        logs.configure(settings)
        preflight.model_or_exit()
        server.watch_workers()

    def __init__(self) -> None:
        logs.configure(settings)
        self.engine = Engine(settings)
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
        return await self.answer(Form(tuple(files), options, explain))

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
        """The same as classify, asked in JSON with the files in base64."""
        options = ChipOptions(polarisation, pixel_spacing_m, quantity)
        return await self.answer(Form(tuple(files), options, explain))

    def check_capacity(self) -> None:
        """Refused (429, 503) if not even one chip would be accepted."""
        self.engine.check_capacity()

    async def answer(self, form: Form) -> Response:
        """Results in the order of the files; 422 where not one chip could be classified."""
        try:
            results = await self.engine.classify(
                [file.content for file in form.files], form.options, explain=form.explain
            )
        except Refused as refused:
            return envelope(refused)
        told = ClassifyResponse(
            request_id=request_id.get(),
            model=self.model,
            results=[chip_result(f.filename, r) for f, r in zip(form.files, results, strict=True)],
        )
        failed = sum(result.status == "error" for result in told.results)
        logs.note(chips=len(form.files), failed=failed)
        status = HTTPStatus.OK if failed < len(form.files) else HTTPStatus.UNPROCESSABLE_ENTITY
        return json_response(told.model_dump_json(), status)
