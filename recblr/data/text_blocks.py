"""A text file as blocks of whole lines in UTF-8, with the line number of each block's first line.

The reader above it parses one block at a time, so the memory in use is a block's, whatever the size of the file.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recblr.errors import DataError

BLOCK_BYTES = 16 << 20
_LONGEST_LINE = 256 << 20
_LONGEST_QUOTED = 1 << 20
_SAMPLE_BYTES = 1 << 16
_MAGIC = {
    b"PAR1": "a Parquet file: rename it to .parquet",
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    b"BZh": "compressed with bzip2: unpack it first",
    b"\xfd7zXZ": "compressed with xz: unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: unpack it first",
}
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, kw_only=True)
class Block:
    """Whole lines of a file."""

    data: bytes
    """UTF-8, without a byte order mark."""
    first_line: int
    """Number of the first line, from 1."""


def check_is_text(path: Path, encoding: str | None = None) -> None:
    """Errors: DataError for an empty file, a binary one, UTF-16 read as UTF-8, or an encoding that does not exist."""
    start = _head(path)
    if not start.strip():
        raise DataError(f"{path.name} is empty: there is not one event in it")
    if encoding is not None:
        try:
            codecs.lookup(encoding)
        except LookupError as error:
            raise DataError(
                f"{path.name}: there is no encoding {encoding!r}: try 'utf-8', 'latin-1', 'utf-16'"
            ) from error
        return
    for magic, what in _MAGIC.items():
        if start.startswith(magic):
            raise DataError(f"{path.name} is {what}")
    if start.startswith(_UTF16_MARKS):
        raise DataError(f"{path.name}, line 1: UTF-16 text, not UTF-8: pass encoding='utf-16' (--encoding utf-16)")
    _check_no_nul(path.name, start, first_line=1)


def first_lines(path: Path, encoding: str | None = None) -> list[str]:
    """The lines at the start of the file that are whole; bytes that the encoding lacks are shown as U+FFFD."""
    start = _head(path)
    text = start.decode(encoding or "utf-8-sig", errors="replace")
    lines = text.splitlines()
    return lines if path.stat().st_size <= len(start) or len(lines) == 1 else lines[:-1]


def text_blocks(
    path: Path, *, encoding: str | None = None, quoting: bool = True, block_bytes: int = BLOCK_BYTES
) -> Iterator[Block]:
    """Every line of the file, in order, in blocks of about `block_bytes`.

    quoting: a line break between two double quotes does not end a line, so a block never ends there.
    Errors: DataError for bytes that the encoding lacks, NUL bytes, or a line longer than 256 MiB.
    """
    line, rest = 1, b""
    for part in _decoded(path, encoding, block_bytes):
        rest += part
        end = _last_line_end(rest, quoting)
        if end == 0:
            if len(rest) > max(_LONGEST_LINE, block_bytes):
                raise DataError(f"{path.name}, line {line}: no end of line in {len(rest):,} bytes: is this a table?")
            continue
        block, rest = rest[:end], rest[end:]
        _check_no_nul(path.name, block, line)
        yield Block(data=block, first_line=line)
        line += block.count(b"\n")
    if rest:
        _check_no_nul(path.name, rest, line)
        yield Block(data=rest, first_line=line)


def not_utf8(name: str, block: Block) -> DataError:
    """The error for a block that does not decode: which byte, on which line, and the way out."""
    try:
        block.data.decode()
    except UnicodeDecodeError as error:
        line = block.first_line + block.data[: error.start].count(b"\n")
        return DataError(
            f"{name}, line {line}: byte 0x{block.data[error.start]:02X} is not UTF-8: "
            "pass encoding='latin-1' (--encoding latin-1), or the encoding that the file was saved in"
        )
    return DataError(f"{name}, line {block.first_line}: not a table of text")


def _decoded(path: Path, encoding: str | None, block_bytes: int) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)() if encoding else None
    line, started, old_mac = 1, False, False
    with path.open("rb") as file:
        while raw := file.read(block_bytes):
            if decoder is None:
                part = raw
            else:
                part = _decode(decoder, raw, path.name, line, encoding)
                line += part.count(b"\n")
            if not started:
                part = part.removeprefix(codecs.BOM_UTF8)
                old_mac = b"\n" not in part and b"\r" in part
                started = True
            yield part.replace(b"\r", b"\n") if old_mac else part
        if decoder is not None:
            yield _decode(decoder, b"", path.name, line, encoding, final=True)


def _decode(
    decoder: codecs.IncrementalDecoder, raw: bytes, name: str, line: int, encoding: str | None, final: bool = False
) -> bytes:
    try:
        return decoder.decode(raw, final).encode()
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        line += raw[:start].count(b"\n")
        raise DataError(f"{name}, line {line}: not {encoding} text ({error}): pass another encoding") from error


def _last_line_end(data: bytes, quoting: bool) -> int:
    """Length of the leading part of `data` that ends with a line break outside double quotes; 0 if there is none."""
    end = data.rfind(b"\n") + 1
    if not quoting or b'"' not in data:
        return end
    quotes, cut = data.count(b'"', 0, end), end
    while cut and quotes % 2:
        before = data.rfind(b'"', 0, cut)
        quotes -= data.count(b'"', before, cut)
        cut = data.rfind(b"\n", 0, before) + 1
        quotes -= data.count(b'"', cut, before)
    if cut == 0 and len(data) > _LONGEST_QUOTED:
        return end  # a quote that never closes is ordinary text, such as inches
    return cut


def _check_no_nul(name: str, data: bytes, first_line: int) -> None:
    position = data.find(b"\0")
    if position >= 0:
        line = first_line + data[:position].count(b"\n")
        raise DataError(
            f"{name}, line {line}: a NUL byte, so this is not UTF-8 text: a binary file under this name, "
            "or text in UTF-16 (then pass encoding='utf-16', --encoding utf-16)"
        )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_SAMPLE_BYTES)
