"""`bentoml serve`, after a check that BentoML itself does not make: its folder can be made.

BentoML makes that folder before it imports a service, so the service cannot say what is wrong. The
entry point `bentoml.commands` (pyproject.toml) puts this command in the place of BentoML's own.
"""

from typing import Any

import click
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
        # Imported here: `bentoml` loads this module whatever its command is.
        from serving.instance import home_or_exit  # noqa: PLC0415

        home_or_exit()
        return _BENTOML.make_context(info_name, args, parent, **extra)


serve = Serve(_BENTOML.name, callback=_BENTOML.callback, help=_BENTOML.help)
