"""How long an idle connection stays open: SHIPCHIP_KEEP_ALIVE_S.

A proxy keeps its connections to a service for later requests, often for 60 s. Where the service
closes them earlier, a request that is on its way at that moment fails, and the proxy answers 502.
uvicorn closes them after 5 s, and `bentoml serve` changes that by a hidden option only, which every
place that starts the service would have to give.
"""

import logging
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)


class KeepAlive:
    """ASGI middleware that sets uvicorn's `timeout_keep_alive` before the first connection."""

    def __init__(self, app: ASGIApp, seconds: int) -> None:
        self.app = app
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            # uvicorn gives its configuration to no application, but the `receive` of the lifespan
            # is a method of the object that holds it. Each new connection reads it.
            config: Any = getattr(getattr(receive, "__self__", None), "config", None)
            if hasattr(config, "timeout_keep_alive"):
                config.timeout_keep_alive = self.seconds
            else:
                log.warning("SHIPCHIP_KEEP_ALIVE_S does nothing: the server is not uvicorn")
        await self.app(scope, receive, send)
