"""`bentoml serve`, after a check that BentoML itself does not make: its folder can be made.

BentoML makes that folder before it imports a service, so the service cannot say what is wrong. The
entry point `bentoml.commands` (pyproject.toml) puts this command in the place of BentoML's own.

A module of its own: `bentoml` loads it at every start, and a Bento must then still find its own
`serving` and `shipchip`, not those that are installed beside it.
"""

import sys
from typing import Any

import click
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml_cli.serve import serve_command

_BENTOML = serve_command.commands["serve"]


class Serve(click.Command):
    """Checks, then hands everything to BentoML's command: arguments, options and help."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """As click asks for it; the context is that of BentoML's command."""
        try:
            BentoMLContainer.bentoml_home.get()
        except OSError as error:
            sys.exit(
                f"shipchip: cannot serve: BentoML's folder cannot be made: {error}; set HOME, or "
                "BENTOML_HOME, to a folder that can be written"
            )
        return _BENTOML.make_context(info_name, args, parent, **extra)


serve = Serve(_BENTOML.name, callback=_BENTOML.callback, help=_BENTOML.help)
