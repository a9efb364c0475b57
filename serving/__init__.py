"""serving: the model behind HTTP (`bentoml serve`) and over folders (`python -m serving.batch`).

    settings.py    every SHIPCHIP_* variable, with its default and what it means
    intake.py      one chip -> model input, or the reason why not; the options of a chip
    engine.py      chips -> predictions without blocking the event loop
    schema.py      what goes over HTTP, as pydantic models
    multipart.py   multipart/form-data, strictly
    form.py        the parts of a request -> what it asks, checked
    limits.py      the ASGI middleware: request ids, limits, one shape for every error
    refusals.py    a refused request, and the shape of its answer
    openapi.py     what BentoML and /docs.json tell of the API
    service.py     the BentoML service: endpoints, nothing else
    rows.py        the columns of a batch and their writers (CSV, JSON lines)
    batch.py       the command line over a folder

Nothing here imports torch or training.
"""

import os

# BentoML reads it once, at its first use: set before any module of this package imports bentoml.
# `bentoml serve` itself starts before this line; the Makefile and the image set it there.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
