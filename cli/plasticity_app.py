"""`plasticity`: how well a base checkpoint learns."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def root() -> None:
    """How well a base checkpoint learns. No commands yet: see CHANGELOG.md for what has landed."""


def main() -> None:
    """Entry point."""
    app()
