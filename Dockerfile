# The service in a container. `make image` builds it, and tells the labels what they are; so does
#
#   docker build --tag shipchip .
#   docker run --read-only --tmpfs /tmp --publish 3000:3000 shipchip
#
# It runs as uid 10001 and writes below /tmp only. SHIPCHIP_* variables are its settings; BENTOML_PORT
# is another port than 3000, for the service and its health command alike.
#
# BASE     Debian 12 or newer, or Ubuntu 24.04 or newer: apt, and a Python of 3.11 or newer
# RUNTIME  cpu or gpu; gpu needs a BASE with the CUDA and cuDNN that its ONNX Runtime is built for
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS python
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb /var/cache/apt/*.bin

FROM python AS builder
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv
ARG RUNTIME=cpu
COPY locks/serve-${RUNTIME}.txt /build/requirements.txt
COPY locks/install.sh /build/install.sh
# pip lives in an environment of its own and fills the other one, which never holds it. Wheels only:
# nothing is compiled. setuptools is in the lock for building this project, which is not built here.
RUN python3 -m venv /build/pip \
    && python3 -m venv --without-pip /opt/venv \
    && PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all: sh /build/install.sh /build/requirements.txt \
        /build/pip/bin/pip --python /opt/venv/bin/python \
    && /build/pip/bin/pip --python /opt/venv/bin/python uninstall --quiet --yes setuptools
WORKDIR /app
COPY LICENSE bentofile.yaml ./
COPY models/ship.onnx models/ship.onnx.sha256 models/
COPY shipchip shipchip
COPY serving serving
# Here, because where it runs there is no place to write byte code.
RUN /opt/venv/bin/python -m compileall -q /app

FROM python
RUN groupadd --gid 10001 shipchip \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /tmp \
        --shell /usr/sbin/nologin shipchip
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /app /app
# BENTOML_CONTAINERIZED is not set: it would keep BentoML from starting a dead worker again.
# ONNX Runtime from 1.29 on tells its maker of models and runs, if it is not told not to.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    BENTOML_HOME=/tmp/bentoml \
    BENTOML_DO_NOT_TRACK=True \
    ORT_DISABLE_TELEMETRY=1
WORKDIR /app
USER 10001:10001
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "serving.healthcheck"]
ENTRYPOINT ["tini", "--"]
CMD ["bentoml", "serve", "."]

ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="shipchip" \
    org.opencontainers.image.description="Tells Cargo, Fishing and Tanker apart on small SAR chips" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.source="${SOURCE}" \
    org.opencontainers.image.licenses="Apache-2.0"
