"""How well a base checkpoint learns (issues 5 and 6; nothing here yet)."""
