"""The BentoML service: endpoints, nothing else.

    POST /v1/classify   chips -> labels, one result a file (serving.limits, serving.engine)
    GET  /v1/model      the card, the file's sha256, the execution provider

BentoML routes its APIs by POST only, so the second is a Starlette route mounted beside them.
"""

from http import HTTPStatus

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.engine import Engine
from serving.form import Upload
from serving.intake import ChipOptions, Polarisation
from serving.limits import CLASSIFY, RequestLimits
from serving.openapi import MODEL, ClassifyForm, DocumentedService
from serving.refusals import json_response, request_id
from serving.schema import ClassifyResponse, chip_result, model_info, model_name
from serving.settings import Settings
from shipchip.decode import Quantity

settings = Settings()


async def get_model(request: Request) -> Response:
    """The model that answers, as serving.schema.ModelInfo."""
    return json_response(request.app.state.model_info, HTTPStatus.OK)


model_routes = Starlette(routes=[Route(MODEL, get_model, methods=["GET"])])


@bentoml.service(
    name="shipchip",
    description="Tells Cargo, Fishing and Tanker apart on small SAR chips of one ship each.",
    service_class=DocumentedService,
    workers=settings.workers,
    # serving.limits ends a request at `timeout_s`, in our own words; this one stands behind it.
    traffic={"timeout": settings.timeout_s + 10},
)
@bentoml.asgi_app(model_routes)
class Shipchip:
    """One process's model. A model file that cannot be used is a ModelError here."""

    def __init__(self) -> None:
        self.engine = Engine(settings)
        self.model = model_name(self.engine.ships)
        model_routes.state.model_info = model_info(self.engine.ships).model_dump_json(by_alias=True)

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    def warm_up(self) -> None:
        """Before the first request is taken."""
        self.engine.warm_up()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """After the last request was answered."""
        self.engine.close()

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
        results = await self.engine.classify(
            [file.content for file in files],
            ChipOptions(polarisation, pixel_spacing_m, quantity),
            explain=explain,
        )
        answer = ClassifyResponse(
            request_id=request_id.get(),
            model=self.model,
            results=[chip_result(f.filename, r) for f, r in zip(files, results, strict=True)],
        )
        classified = any(result.status == "ok" for result in answer.results)
        status = HTTPStatus.OK if classified else HTTPStatus.UNPROCESSABLE_ENTITY
        return json_response(answer.model_dump_json(exclude_none=True), status)


# The decorator has made a BentoML Service of the class.
Shipchip.add_asgi_middleware(RequestLimits, settings=settings)  # type: ignore[attr-defined]
