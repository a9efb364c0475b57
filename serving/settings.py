"""Every setting of the service and of batch runs: SHIPCHIP_<NAME> in the environment."""

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from serving.cores import usable_cores
from shipchip import DecodeLimits
from shipchip.model_file import DEFAULT_MODEL
from shipchip.runtime import Device

# The folder of bentofile.yaml: in a checkout, in a Bento and in the image alike.
PROJECT = Path(__file__).resolve().parent.parent


_MIN_KEY = 16
_OF_ORCHESTRATORS = re.compile(r"(^|_)(PORT|SERVICE)(_|$)")


def _check_keys(value: SecretStr) -> SecretStr:
    keys = _split(value.get_secret_value())
    if not keys:  # an empty variable must not leave a service open that was meant to be closed
        raise ValueError("no key in it; give one, or unset it to serve without keys")
    if any(len(key) < _MIN_KEY or not re.fullmatch(r"[!-~]+", key) for key in keys):
        raise ValueError(f"a key needs {_MIN_KEY} characters or more, visible ASCII, no blanks")
    return value


def _check_origins(value: tuple[str, ...]) -> tuple[str, ...]:
    for origin in value:
        if origin != "*" and not re.fullmatch(r"https?://[^/?#\s]+", origin):
            raise ValueError(f"{origin!r} is no origin; expected https://host, or * for any")
    return value


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


# Hidden before it is checked: an error about a key does not show it.
_Keys = Annotated[
    SecretStr,
    AfterValidator(_check_keys),
    BeforeValidator(lambda value: SecretStr(value) if isinstance(value, str) else value),
]
_Origins = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_origins)
]


class Settings(BaseSettings):
    """Read once at start. A value that does not fit stops the start and names its variable."""

    model_config = SettingsConfigDict(env_prefix="SHIPCHIP_", frozen=True, extra="ignore")

    model: Path = Field(
        default=DEFAULT_MODEL,
        description="the model file; a relative path starts at the current folder for the command "
        "`shipchip`, otherwise at the folder of bentofile.yaml",
    )
    device: Device = Field(
        default="auto",
        description="`auto` uses a GPU if ONNX Runtime can, `cuda` requires one, `cpu` uses none; "
        "`openvino` runs the model with OpenVINO on the CPU (extra `openvino`)",
    )
    threads: int = Field(
        default_factory=usable_cores,
        ge=1,
        le=256,
        description="processor cores for the model; default: all that the CPU affinity and a "
        "container's CPU quota allow",
    )
    decode_threads: int = Field(
        default_factory=lambda: min(4, usable_cores()),
        ge=1,
        le=64,
        description="chips decoded at the same time; default: one per core, at most 4",
    )
    batch_size: int = Field(
        default=32,
        ge=1,
        le=1024,
        description="maximum number of chips in one model run; at most 16 in runs on a single core",
    )
    max_queue: int = Field(
        default=1024,
        ge=1,
        le=100_000,
        description="maximum number of queued chips; a request that would exceed it gets 429",
    )
    max_wait_s: float = Field(
        default=10,
        gt=0,
        le=3600,
        description="maximum queued work in seconds, estimated from recent model runs; a request "
        "that would exceed it gets 429",
    )
    workers: int = Field(
        default=1, ge=1, le=64, description="server processes, each with its own model"
    )
    timeout_s: float = Field(
        default=60,
        gt=0,
        le=3600,
        description="time limit of a request in seconds, including its upload",
    )
    keep_alive_s: int = Field(
        default=75,
        ge=1,
        le=3600,
        description="seconds that an idle connection stays open; set it above the proxy's",
    )
    max_request_bytes: int = Field(
        default=64 * 2**20, ge=1024, description="maximum size of a request body in bytes"
    )
    max_files: int = Field(
        default=256, ge=1, le=10_000, description="maximum number of chips in a request"
    )
    max_bytes: int = Field(
        default=DecodeLimits.max_bytes,
        ge=1024,
        description="maximum size of a chip's file in bytes",
    )
    max_pixels: int = Field(
        default=DecodeLimits.max_pixels,
        ge=64,
        description="maximum number of pixels per plane of a chip",
    )
    api_key: _Keys | None = Field(
        default=None,
        description="API keys for `/v1/*` and `/metrics`, comma-separated for rotation, each of at "
        "least 16 visible ASCII characters; set but empty stops the start; default: no key needed",
    )
    open_metrics: bool = Field(
        default=False,
        description="`true`: `/metrics` needs no API key, for a Prometheus that finds "
        "its targets by annotations and cannot send one",
    )
    cors_origins: _Origins = Field(
        default=(),
        description="origins whose web pages may read answers, comma-separated "
        "(`https://app.example`), or `*`; default: none",
    )
    log_format: Annotated[Literal["json", "text"], BeforeValidator(_lower)] = Field(
        default="json", description="format of log lines on standard output: `json` or `text`"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = (
        Field(
            default="info",
            description="minimum level that is logged; requests are `info`, health checks and "
            "`/metrics` are `debug`",
        )
    )

    @field_validator("model")
    @classmethod
    def _from_project(cls, value: Path) -> Path:
        return PROJECT / value.expanduser()

    def api_keys(self) -> tuple[str, ...]:
        """The keys in `api_key`; none where none is asked for."""
        keys: tuple[str, ...] = _split(
            "" if self.api_key is None else self.api_key.get_secret_value()
        )
        return keys

    def decode_limits(self) -> DecodeLimits:
        """The limits that every chip's file is held to."""
        return DecodeLimits(max_bytes=self.max_bytes, max_pixels=self.max_pixels)


def setting_errors(error: ValidationError) -> Iterator[str]:
    """A line for each setting that does not fit: its variable, its value unless secret, and why."""
    for fault in error.errors():
        name = f"SHIPCHIP_{str(fault['loc'][0]).upper()}"
        value = fault["input"]
        shown = "" if isinstance(value, SecretStr) else f" is {value!r}"
        yield f"{name}{shown}: {fault['msg'].removeprefix('Value error, ')}"


def misspelt_variables() -> Iterator[str]:
    """A line for each SHIPCHIP_ variable that looks like a setting misspelt.

    Others are ignored, such as what orchestrators set for a service of that name: SHIPCHIP_PORT,
    SHIPCHIP_SERVICE_HOST, SHIPCHIP_WORKER_PORT.
    """
    known = [name.upper() for name in Settings.model_fields]
    for variable in sorted(os.environ):
        prefix, _, name = variable.partition("SHIPCHIP_")
        if prefix or name in known or _OF_ORCHESTRATORS.search(name):
            continue
        near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.65)
        if near:
            yield f"{variable} is no setting and does nothing; did you mean SHIPCHIP_{near[0]}?"
