"""serving: the model behind HTTP (`bentoml serve`) and over folders (`python -m serving.batch`).

    settings.py    every SHIPCHIP_* variable, with its default and what it means
    intake.py      one chip -> model input, or the reason why not; the options of a chip
    engine.py      chips -> predictions without blocking the event loop
    batcher.py     chips of several requests in one model run; a queue with a bound
    lanes.py       the model's threads: one run on all cores, or one a core
    telemetry.py   what /metrics tells of chips, requests, runs and drift
    overlay.py     pictures of a chip and of its activation map
    schema.py      what goes over HTTP, as pydantic models
    multipart.py   multipart/form-data, strictly
    form.py        the parts of a request -> what it asks, checked
    base64_form.py the same from JSON with the files in base64
    limits.py      the ASGI middleware: request ids, limits, one shape for every error
    access.py      API keys, and the web pages of other origins
    keepalive.py   how long an idle connection stays open
    logs.py        log lines, one a request
    preflight.py   can this be served? asked before workers are started
    instance.py    what a running service shares with no other: its port, the folder of its metrics
    healthcheck.py the container's health command
    supervisor.py  a dead worker is noticed at once
    refusals.py    a refused request, and the shape of its answer
    openapi.py     what BentoML and /docs.json tell of the API
    page.py        the page /demo, whose files are in page/
    service.py     the BentoML service: endpoints, nothing else
    rows.py        the columns of a batch
    spreadsheet.py CSV that spreadsheets open correctly
    inputs/        what a batch reads: folders, archives, lists
    outputs/       where its rows go: formats, staging and resume, merging, scores, pictures
    batch/         the command line over many chips, and its engines

Nothing here imports torch or training.
"""

import os

# BentoML reads it once, at its first use: set before any module of this package imports bentoml.
# `bentoml serve` itself starts before this line; the Makefile and the image set it there.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
