"""Puts the default model into wheels, as shipchip/_model/. Everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

MODEL = ("models/ship.onnx", "models/ship.onnx.sha256")


class BuildWithModel(build_py):
    """Copies the packages, then the model. An editable installation finds it in the checkout."""

    def run(self) -> None:
        """Called by setuptools."""
        super().run()
        if not self.editable_mode:
            folder = Path(self.build_lib, "shipchip", "_model")
            self.mkpath(str(folder))
            for name in MODEL:
                self.copy_file(name, str(folder))


setup(cmdclass={"build_py": BuildWithModel})
