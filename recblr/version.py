"""The version, as in pyproject.toml; a module of its own, so that saving a run need not import the whole package."""

VERSION = "0.1.0"
