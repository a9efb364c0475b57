"""python -m serving.command: `bentoml serve` of this service, from any folder."""

import argparse
import sys
from importlib import import_module

from serving.settings import PROJECT

_SERVICE = "serving.service:Shipchip"


def main(arguments: list[str] | None = None, prog: str = "python -m serving.command") -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status. argparse exits with 2.

    Options other than those below go to `bentoml serve`.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Serve the model over HTTP, with a web page at /demo.",
        epilog="Other options are those of `bentoml serve`. Everything else is set in the "
        "environment: SHIPCHIP_MODEL, SHIPCHIP_API_KEY and more.",
        allow_abbrev=False,
    )
    parser.add_argument("--host", metavar="ADDRESS", help="the IP address to listen on")
    parser.add_argument("--port", type=int, metavar="N", help="the port (default: 3000)")
    options, others = parser.parse_known_args(arguments)
    chosen = {"--host": options.host, "--port": options.port}
    words = [f"{name}={value}" for name, value in chosen.items() if value is not None]
    serve = import_module("bentoml_cli.cli").cli.commands["serve"]  # takes a second
    serve.main([_SERVICE, "--working-dir", str(PROJECT), *words, *others], prog_name=prog)
    return 0


if __name__ == "__main__":
    sys.exit(main())
