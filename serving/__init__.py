"""serving: the model behind HTTP (`bentoml serve`) and over folders (`python -m serving.batch`).

    service.py     the BentoML service: endpoints, nothing else
    http.py        the front door: request ids, limits, the form, one shape for every error
    access.py      API keys, and the web pages of other origins
    multipart.py   multipart/form-data, parsed strictly
    forms.py       the parts of a request -> what it asks for, checked
    json_form.py   the same from JSON with the files in base64
    refusals.py    a refused request, and the shape of its answer
    schema.py      what the service answers, as pydantic models
    openapi.py     the API as BentoML and /docs.json describe it
    page/          the pages /demo and /docs

    chips.py       one chip: its options, decode and prepare, one model run
    engine.py      chips -> predictions without blocking the event loop
    batching.py    chips of several requests in one model run; a queue with a bound (429)
    sessions.py    ONNX Runtime sessions: one run on all cores, or one per core
    pictures.py    a chip and its activation map as PNG

    metrics.py     /metrics: chips, requests, runs and drift
    logs.py        one log line per request
    settings.py    every SHIPCHIP_* variable, with its default and meaning
    preflight.py   whether the model can be served, before workers start
    healthcheck.py the container's health command
    server.py      BentoML's server: own metrics, port check, keep-alive, dead workers

    command.py     `shipchip serve`: BentoML's server of this service, from any folder
    batch/         the command line over many chips

Nothing here imports torch or training.
"""

import os

# BentoML reads it once, at its first use: set before any module of this package imports bentoml.
# `bentoml serve` itself starts before this line; the Makefile and the image set it there.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
