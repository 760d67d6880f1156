"""Public logs from GroupLens: resumed after a cut, checked against the published checksum, unpacked safely.

MovieLens may be used for research; it may not be redistributed or used for revenue without GroupLens' permission.
The archive's own README says it in full: `licence_text` returns it, for the caller to show.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from recblr.data.unpack import unpack_folder
from recblr.errors import DataError

GROUPLENS = "https://files.grouplens.org/datasets/movielens"
LOGS: dict[str, str] = {
    "ml-100k": "100,000 ratings, 943 users, 1998 (5 MB)",
    "ml-1m": "1,000,209 ratings, 6,040 users, 2003 (6 MB)",
    "ml-latest-small": "about 100,000 ratings, 600 users, renewed at times (1 MB)",
    "ml-20m": "20 million ratings, 138,000 users, 2016 (190 MB)",
    "ml-32m": "32 million ratings, 201,000 users, 2024 (239 MB)",
}
"""Name -> what it is."""
LICENCE = (
    "MovieLens data are for research use: no redistribution and no commercial use without permission from GroupLens "
    "(https://grouplens.org/datasets/movielens/)."
)
Progress = Callable[[int, int | None], None]
"""Called with (bytes here, bytes in all or None) as they arrive."""

_CHUNK = 1 << 18
_TIMEOUT_SECONDS = 30
_FRUITLESS_TRIES = 3
_logger = logging.getLogger(__name__)


class _Ranged(NamedTuple):
    start: int
    total: int | None


def download(name: str, root: Path | str, *, base_url: str | None = None, progress: Progress | None = None) -> Path:
    """Fetch a log into the folder ``root/name`` and return it; a folder that is already there is returned as it is.

    The archive arrives in ``root/name.zip.part``: a cut connection is resumed at once, a stopped download by the next
    call. base_url: where ``name.zip`` and ``name.zip.md5`` lie; None takes the environment's RECBLR_MIRROR, else
    GroupLens.
    Errors: DataError for an unknown name, no connection, a checksum that differs, an unsafe archive, a full disk.
    """
    if name not in LOGS:
        raise DataError(f"there is no log {name!r} to download: choose one of {', '.join(LOGS)}")
    folder = Path(root).expanduser() / name
    if folder.is_dir():
        return folder
    base = (base_url or os.environ.get("RECBLR_MIRROR") or GROUPLENS).rstrip("/")
    if not base.startswith(("https://", "http://")):
        raise DataError(f"{base!r} is no web address: give one that starts with https:// (RECBLR_MIRROR)")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = folder.parent / f"{name}.zip.part"
        url = f"{base}/{name}.zip"
        checksum = _published_md5(f"{url}.md5")
        _fetch(url, part, progress)
        _verify(part, checksum, url)
        unpack_folder(part, folder)
        part.unlink()
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise DataError(
            f"{base}/{name}.zip: no connection ({_reason(error)}): try again; what arrived is kept"
        ) from error
    except OSError as error:
        raise DataError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from error
    return folder


def licence_text(folder: Path | str) -> str:
    """The README of an unpacked archive, which holds its licence; the short notice where there is none."""
    found = [one for one in sorted(Path(folder).iterdir()) if one.stem.upper() in ("README", "LICENSE", "LICENCE")]
    texts = [one.read_text(encoding="utf-8", errors="replace") for one in found if one.is_file()]
    return texts[0] if texts else LICENCE


def _published_md5(url: str) -> str:
    """Errors: DataError when the address is unknown or holds no checksum."""
    with _open(url) as response:
        text = response.read(4096).decode("ascii", errors="replace")
    found = re.search(r"\b[0-9a-fA-F]{32}\b", text)
    if found is None:
        raise DataError(f"{url} holds no MD5 checksum: check the mirror (RECBLR_MIRROR)")
    return found[0].lower()


def _fetch(url: str, part: Path, progress: Progress | None) -> None:
    """Complete `part`, going on after a cut as long as each try brings something."""
    fruitless = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _fetch_once(url, part, progress):
                return
            problem = "the connection was cut"
        except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
            problem = _reason(error)
        arrived = part.stat().st_size if part.exists() else 0
        fruitless = 0 if arrived > before else fruitless + 1
        if fruitless == _FRUITLESS_TRIES:
            raise DataError(f"{url}: {problem} after {arrived:,} bytes: run it again to go on from there")
        _logger.info("%s: %s after %s bytes, going on", url, problem, arrived)


def _fetch_once(url: str, part: Path, progress: Progress | None) -> bool:
    """Ask for what is missing and write it. True when the file is complete."""
    have = part.stat().st_size if part.exists() else 0
    try:
        response = _open(url, start=have)
    except urllib.error.HTTPError as error:
        if error.code != 416 or have == 0:
            raise
        # Nothing after `have`: either it was complete, or it belongs to another version of the archive.
        complete = _range(error.headers.get("Content-Range"), have).total == have
        if not complete:
            part.unlink()
        return complete
    with response:
        resumed = response.status == 206
        length = response.headers.get("Content-Length")
        start, total = (
            _range(response.headers.get("Content-Range"), have)
            if resumed
            else _Ranged(0, int(length) if length and length.isdigit() else None)  # the whole archive, asked for or not
        )
        if resumed and start != have:
            part.unlink()
            return False
        with part.open("ab" if resumed else "wb") as file:
            have = _copy(response, file, start, total, progress)
    return total is None or have >= total


def _copy(
    response: http.client.HTTPResponse, file: BinaryIO, have: int, total: int | None, progress: Progress | None
) -> int:
    while chunk := response.read(_CHUNK):
        file.write(chunk)
        have += len(chunk)
        if progress is not None:
            progress(have, total)
    return have


def _open(url: str, start: int = 0) -> http.client.HTTPResponse:
    headers = {"User-Agent": "recblr", **({"Range": f"bytes={start}-"} if start else {})}
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_SECONDS
        )
    except urllib.error.HTTPError as error:
        if error.code == 416:
            raise
        raise DataError(f"{url}: the server answers {error.code} {error.reason}: check the address") from error
    return response


def _verify(part: Path, checksum: str, url: str) -> None:
    """Errors: DataError when the archive is not the published one; it is then deleted."""
    digest = hashlib.md5(usedforsecurity=False)
    with part.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != checksum:
        part.unlink()
        raise DataError(
            f"{url}: the checksum is {digest.hexdigest()}, published is {checksum}: "
            "the damaged file is deleted, run it again"
        )


def _range(header: str | None, asked: int) -> _Ranged:
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", (header or "").strip())
    if found is None:
        return _Ranged(asked, None)
    start = int(found[1]) if found[1] else asked
    return _Ranged(start, None if found[2] == "*" else int(found[2]))


def _reason(error: BaseException) -> str:
    return str(getattr(error, "reason", "") or error or type(error).__name__)
