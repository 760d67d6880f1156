"""``recblr download NAME``: a MovieLens log from GroupLens."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from recblr.cli.command import Command
from recblr.cli.parser import UsageError
from recblr.data.download import LICENCE, LOGS, download, licence_text
from recblr.data.locate import download_root


@dataclass(frozen=True, kw_only=True)
class DownloadOptions:
    """What to fetch and where to put it."""

    name: str
    """ml-100k, ml-1m, ml-latest-small, ml-20m or ml-32m."""
    root: Path | None = None
    """Folder that gets a folder of that name; without it, the first data folder."""


@dataclass(frozen=True, kw_only=True)
class Downloaded:
    """A log that is here now."""

    name: str
    folder: Path
    licence: str


def run(options: DownloadOptions) -> Downloaded:
    """Fetch, or go on where a stopped download ended. Raises UsageError for an unknown name, DataError otherwise."""
    if options.name not in LOGS:
        known = "; ".join(f"{name}: {about}" for name, about in LOGS.items())
        raise UsageError(f"no log {options.name!r} to download: choose one of {known}")
    print(LICENCE, file=sys.stderr)
    root = download_root() if options.root is None else options.root
    with tqdm(unit="B", unit_scale=True, desc=options.name, file=sys.stderr, disable=not sys.stderr.isatty()) as bar:

        def show(here: int, total: int | None) -> None:
            bar.total = total
            bar.update(here - bar.n)

        folder = download(options.name, root, progress=show)
    return Downloaded(name=options.name, folder=folder, licence=licence_text(folder))


def lines(result: Downloaded) -> Iterator[str]:
    """The licence in full, then where the log is."""
    yield result.licence.strip()
    yield ""
    yield f"{result.name} is in {result.folder}; read it with: recblr inspect-log {result.folder}"


def data(result: Downloaded) -> dict[str, Any]:
    return {"name": result.name, "folder": str(result.folder), "licence": result.licence}


COMMAND = Command(
    summary="Fetch a MovieLens log from GroupLens and show its licence.",
    options=DownloadOptions,
    run=run,
    lines=lines,
    data=data,
    positional=("name",),
)
