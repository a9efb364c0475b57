"""Every setting of the service and of batch runs: SHIPCHIP_<NAME> in the environment."""

import os
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shipchip import DecodeLimits
from shipchip.classifier import Device

# The folder of bentofile.yaml: in a checkout, in a Bento and in the image alike.
PROJECT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Read once at start. A value that does not fit stops the start and names its variable."""

    model_config = SettingsConfigDict(env_prefix="SHIPCHIP_", frozen=True, extra="ignore")

    model: Path = Field(
        default=PROJECT / "models" / "ship.onnx",
        description="the model file; a relative path counts from the folder of bentofile.yaml",
    )
    device: Device = Field(
        default="auto",
        description="auto takes a GPU where ONNX Runtime has one; cuda insists on it; cpu",
    )
    threads: int | None = Field(
        default=None, ge=1, le=256, description="ONNX Runtime's threads; default: it chooses"
    )
    decode_threads: int = Field(
        default=min(4, os.cpu_count() or 1),
        ge=1,
        le=64,
        description="chips decoded at the same time",
    )
    batch_size: int = Field(default=32, ge=1, le=1024, description="most chips in one model run")
    workers: int = Field(
        default=1, ge=1, le=64, description="server processes, each with its own model"
    )
    timeout_s: float = Field(
        default=60, gt=0, le=3600, description="seconds for a request, its upload included"
    )
    max_request_bytes: int = Field(
        default=64 * 2**20, ge=1024, description="bytes of one request's body"
    )
    max_files: int = Field(default=256, ge=1, le=10_000, description="chips in one request")
    max_bytes: int = Field(
        default=DecodeLimits.max_bytes, ge=1024, description="bytes of one chip's file"
    )
    max_pixels: int = Field(
        default=DecodeLimits.max_pixels,
        ge=64,
        description="pixels a plane of one chip; a chip shows one ship",
    )

    @field_validator("model")
    @classmethod
    def _from_project(cls, value: Path) -> Path:
        return PROJECT / value.expanduser()

    def decode_limits(self) -> DecodeLimits:
        """The limits that every chip's file is held to."""
        return DecodeLimits(max_bytes=self.max_bytes, max_pixels=self.max_pixels)
