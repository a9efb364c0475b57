"""The command `shipchip`: one word chooses what runs, and the rest of the line goes to it.

Each command is the `main` of a module with its own options. Modules are named here, not imported:
help answers at once, and `shipchip` does not depend on `serving` or `training`.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from shipchip import __version__

CANNOT_RUN = 2

# The modules that each extra of pyproject.toml brings; onnxruntime-gpu has the module of cpu.
EXTRAS = {
    "cpu": ("onnxruntime",),
    "serve": ("attrs", "bentoml", "click", "prometheus_client", "starlette"),
    "train": (
        "markdown_it",
        "matplotlib",
        "onnx",
        "onnxscript",
        "rarfile",
        "safetensors",
        "sklearn",
        "torch",
        "torchvision",
    ),
}


@dataclass(frozen=True)
class Command:
    """One command.

    does     what it is for, in a few words
    example  arguments that show it
    target   the function that runs it, as module:function
    prog     what its usage lines call the program
    extras   the extras that it needs
    words    arguments that stand before the user's
    """

    does: str
    example: str
    target: str
    prog: str
    extras: tuple[str, ...]
    words: tuple[str, ...] = ()

    def run(self, arguments: list[str]) -> int:
        """The exit status."""
        module, _, function = self.target.partition(":")
        main: Callable[..., int] = getattr(import_module(module), function)
        return main([*self.words, *arguments], prog=self.prog)

    def missing(self) -> tuple[list[str], list[str]]:
        """The extras that are not installed, and the modules of them that are not there."""
        absent = {
            extra: [name for name in EXTRAS[extra] if find_spec(name) is None]
            for extra in self.extras
        }
        extras = [extra for extra, modules in absent.items() if modules]
        return extras, [name for modules in absent.values() for name in modules]


def _batch(does: str, example: str, name: str, *words: str) -> Command:
    target = "serving.batch.ending:run_guarded"
    return Command(does, example, target, f"shipchip {name}", ("cpu",), words)


def _training(does: str, example: str, name: str) -> Command:
    return Command(does, example, "training.run:main", "shipchip", ("cpu", "train"), (name,))


COMMANDS = {
    "serve": Command(
        "answer over HTTP, with a web page",
        "--port 3000",
        "serving.command:main",
        "shipchip serve",
        ("cpu", "serve"),
    ),
    "classify": _batch(
        "files, folders, archives and lists: a row per chip",
        "chips/ --out answers.csv",
        "classify",
    ),
    "merge": _batch(
        "join the outputs of `classify --shard`",
        "part-1.csv part-2.csv --out answers.csv",
        "merge",
        "merge",
    ),
    "samples": Command(
        "write a dozen simulated chips to try",
        "demo",
        "shipchip.samples:main",
        "shipchip samples",
        (),
    ),
    "train": _training("train a model, test it once, export it", "--data DIR", "train"),
    "evaluate": _training(
        "compare a model file with its targets",
        "runs/ship-ID/ship.onnx --data DIR",
        "evaluate",
    ),
    "export": _training(
        "make the int8 file of a model",
        "runs/ship-ID/ship.onnx --int8 --data DIR",
        "export",
    ),
    "promote": _training("put a run's model and card into models/", "runs/ship-ID", "promote"),
    "matrix": _training("repeat the paper's experiment", "--simulated --smoke", "matrix"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit status, or 2 if there is no such command."""
    words = sys.argv[1:] if arguments is None else arguments
    name, rest = (words[0], words[1:]) if words else ("", [])
    if name in ("-h", "--help"):
        sys.stdout.write(_help())
        return 0
    if name == "--version":
        sys.stdout.write(f"shipchip {__version__}\n")
        return 0
    if name not in COMMANDS:
        found = f"unknown command {name!r}" if words else "no command given"
        sys.stderr.write(f"shipchip: {found}; expected one of {', '.join(COMMANDS)}\n")
        return CANNOT_RUN
    command = COMMANDS[name]
    extras, modules = command.missing()
    if extras:
        sys.stderr.write(
            f"shipchip {name} needs {', '.join(modules)}; to install: "
            f"{sys.executable} -m pip install 'shipchip[{','.join(extras)}]'\n"
        )
        return CANNOT_RUN
    _start_model_path_here()
    try:
        return command.run(rest)
    except SystemExit as end:
        if end.code == 0 and {"-h", "--help"}.intersection(rest):
            with suppress(BrokenPipeError):  # as argparse does
                sys.stdout.write(f"\nexample:\n  shipchip {name} {command.example}\n")
        raise


def _start_model_path_here() -> None:
    """Make a relative SHIPCHIP_MODEL start at the current folder, as all paths of a command do."""
    model = os.environ.get("SHIPCHIP_MODEL")
    if model:
        os.environ["SHIPCHIP_MODEL"] = str(Path(model).expanduser().absolute())


def _help() -> str:
    rows = (
        f"  {name:<9} {command.does}\n            shipchip {name} {command.example}\n"
        for name, command in COMMANDS.items()
    )
    return (
        "usage: shipchip COMMAND ...\n\n"
        "Tell Cargo, Fishing and Tanker ships apart on small SAR chips.\n\n"
        f"{''.join(rows)}\n"
        "`shipchip COMMAND --help` lists the options of a command; `shipchip --version`\n"
        "prints the version.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
