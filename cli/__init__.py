"""The command line: two Typer apps, no logic."""
