"""Scripts that run in a peer's own virtual environment. They import nothing of ours."""
