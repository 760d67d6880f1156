"""Against a server on this machine: whole, cut, resumed, wrong and hostile archives."""

from __future__ import annotations

import hashlib
import io
import stat
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recblr.data.download import GROUPLENS, LICENCE, LOGS, download, licence_text
from recblr.data.read import read_log
from recblr.errors import DataError

RATINGS = "".join(f"{user}::{item}::5::{978300000 + user * item}\n" for user in range(1, 40) for item in range(1, 60))
MOVIES = "".join(f"{item}::Film {item} (1999)::Drama\n" for item in range(1, 60))


def archive(**entries: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in entries.items():
            packed.writestr(name, text)
    return data.getvalue()


def ml_1m(**more: str) -> bytes:
    return archive(
        **{"ml-1m/ratings.dat": RATINGS, "ml-1m/movies.dat": MOVIES, "ml-1m/README": "For research use only.", **more}
    )


@dataclass
class Mirror:
    """What the server answers, and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)
    """Bytes to send of the archive before hanging up, one number a request; then whole answers."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def put(self, name: str, content: bytes, md5: str | None = None) -> None:
        self.files[f"/{name}.zip"] = content
        digest = md5 or hashlib.md5(content).hexdigest()
        self.files[f"/{name}.zip.md5"] = f"MD5 ({name}.zip) = {digest}\n".encode()

    def asked_for_archive(self) -> list[str | None]:
        return [span for path, span in self.asked if path.endswith(".zip")]


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    state = Mirror()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            span = self.headers.get("Range")
            state.asked.append((self.path, span))
            content = state.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(span.removeprefix("bytes=").removesuffix("-")) if span and state.ranges else 0
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if span and state.ranges else 200)
            if span and state.ranges:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            body = content[start:]
            if self.path.endswith(".zip") and state.cut_after:
                body = body[: state.cut_after.pop(0)]
                self.close_connection = True
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def left_in(root: Path) -> list[str]:
    return sorted(one.name for one in root.iterdir())


def test_an_archive_becomes_a_folder_that_reads_as_a_log(mirror: Mirror, tmp_path: Path):
    mirror.put("ml-1m", ml_1m())
    seen: list[tuple[int, int | None]] = []
    folder = download("ml-1m", tmp_path / "data", base_url=mirror.url, progress=lambda *now: seen.append(now))
    assert folder == tmp_path / "data" / "ml-1m"
    assert left_in(tmp_path / "data") == ["ml-1m"]
    size = len(mirror.files["/ml-1m.zip"])
    assert seen[-1] == (size, size)
    log, report = read_log(folder)
    assert (log.n_users, log.catalog.n_items, report.format) == (39, 59, "movielens-dat")
    assert log.catalog.title(1) == "Film 1 (1999)"


def test_the_licence_text_comes_from_the_archive(mirror: Mirror, tmp_path: Path):
    mirror.put("ml-1m", ml_1m())
    folder = download("ml-1m", tmp_path, base_url=mirror.url)
    assert licence_text(folder) == "For research use only."
    (folder / "README").unlink()
    assert licence_text(folder) == LICENCE
    assert "research" in LICENCE
    assert "no redistribution" in LICENCE


def test_a_log_that_is_there_is_not_fetched_again(mirror: Mirror, tmp_path: Path):
    mirror.put("ml-1m", ml_1m())
    download("ml-1m", tmp_path, base_url=mirror.url)
    mirror.asked.clear()
    assert download("ml-1m", tmp_path, base_url=mirror.url) == tmp_path / "ml-1m"
    assert mirror.asked == []


def test_a_cut_connection_is_resumed_where_it_broke(mirror: Mirror, tmp_path: Path):
    mirror.put("ml-1m", ml_1m())
    mirror.cut_after = [300, 200]
    seen: list[int] = []
    folder = download("ml-1m", tmp_path, base_url=mirror.url, progress=lambda have, _: seen.append(have))
    assert mirror.asked_for_archive() == [None, "bytes=300-", "bytes=500-"]
    assert seen[:2] == [300, 500]
    assert (folder / "ratings.dat").read_text() == RATINGS


def test_a_stopped_download_is_resumed_by_the_next_call(mirror: Mirror, tmp_path: Path):
    content = ml_1m()
    mirror.put("ml-1m", content)
    (tmp_path / "ml-1m.zip.part").write_bytes(content[:400])
    download("ml-1m", tmp_path, base_url=mirror.url)
    assert mirror.asked_for_archive() == ["bytes=400-"]
    assert left_in(tmp_path) == ["ml-1m"]


def test_a_complete_part_is_not_fetched_again(mirror: Mirror, tmp_path: Path):
    content = ml_1m()
    mirror.put("ml-1m", content)
    (tmp_path / "ml-1m.zip.part").write_bytes(content)
    assert (download("ml-1m", tmp_path, base_url=mirror.url) / "movies.dat").read_text() == MOVIES


def test_a_part_longer_than_the_archive_is_started_again(mirror: Mirror, tmp_path: Path):
    content = ml_1m()
    mirror.put("ml-1m", content)
    (tmp_path / "ml-1m.zip.part").write_bytes(content + b"from another version")
    assert (download("ml-1m", tmp_path, base_url=mirror.url) / "movies.dat").read_text() == MOVIES


def test_a_server_that_ignores_ranges_is_read_from_the_start(mirror: Mirror, tmp_path: Path):
    content = ml_1m()
    mirror.put("ml-1m", content)
    mirror.ranges = False
    (tmp_path / "ml-1m.zip.part").write_bytes(content[:400])
    folder = download("ml-1m", tmp_path, base_url=mirror.url)
    assert mirror.asked_for_archive() == ["bytes=400-"]
    assert (folder / "ratings.dat").read_text() == RATINGS


def test_a_connection_that_brings_nothing_is_given_up_and_what_arrived_is_kept(mirror: Mirror, tmp_path: Path):
    mirror.put("ml-1m", ml_1m())
    mirror.cut_after = [250, 0, 0, 0, 0, 0]
    with pytest.raises(DataError, match="after 250 bytes: run it again to go on from there"):
        download("ml-1m", tmp_path, base_url=mirror.url)
    assert (tmp_path / "ml-1m.zip.part").stat().st_size == 250
    mirror.cut_after = []
    assert download("ml-1m", tmp_path, base_url=mirror.url).is_dir()


def test_a_wrong_checksum_deletes_the_file_and_says_so(mirror: Mirror, tmp_path: Path):
    mirror.put("ml-1m", ml_1m(), md5="0" * 32)
    with pytest.raises(
        DataError, match=r"the checksum is [0-9a-f]{32}, published is 0{32}: the damaged file is deleted"
    ):
        download("ml-1m", tmp_path, base_url=mirror.url)
    assert left_in(tmp_path) == []


def test_a_part_of_another_version_is_found_by_the_checksum(mirror: Mirror, tmp_path: Path):
    mirror.put("ml-1m", ml_1m())
    (tmp_path / "ml-1m.zip.part").write_bytes(b"x" * 100)
    with pytest.raises(DataError, match="the damaged file is deleted, run it again"):
        download("ml-1m", tmp_path, base_url=mirror.url)
    assert download("ml-1m", tmp_path, base_url=mirror.url).is_dir()


def test_both_usual_ways_to_write_a_checksum_are_read(mirror: Mirror, tmp_path: Path):
    content = ml_1m()
    mirror.put("ml-1m", content)
    mirror.files["/ml-1m.zip.md5"] = f"{hashlib.md5(content).hexdigest().upper()}  ml-1m.zip\n".encode()
    assert download("ml-1m", tmp_path, base_url=mirror.url).is_dir()


def test_a_page_in_place_of_a_checksum_is_refused(mirror: Mirror, tmp_path: Path):
    mirror.put("ml-1m", ml_1m())
    mirror.files["/ml-1m.zip.md5"] = b"<html>Please sign in</html>"
    with pytest.raises(DataError, match=r"ml-1m\.zip\.md5 holds no MD5 checksum"):
        download("ml-1m", tmp_path, base_url=mirror.url)


def test_an_address_that_the_server_lacks_is_said_so(mirror: Mirror, tmp_path: Path):
    with pytest.raises(DataError, match=r"/ml-1m\.zip\.md5: the server answers 404 Not Found: check the address"):
        download("ml-1m", tmp_path, base_url=mirror.url)


def test_no_connection_is_said_so(mirror: Mirror, tmp_path: Path):
    closed = "http://127.0.0.1:1"
    with pytest.raises(DataError, match=r"ml-1m\.zip: no connection \(.*refused.*\): try again; what arrived is kept"):
        download("ml-1m", tmp_path, base_url=closed)


def test_an_unknown_log_is_refused_with_the_known_ones(tmp_path: Path):
    with pytest.raises(DataError, match="no log 'ml-2m' to download: choose one of ml-100k, ml-1m, ml-latest-small"):
        download("ml-2m", tmp_path)
    assert list(LOGS) == ["ml-100k", "ml-1m", "ml-latest-small", "ml-20m", "ml-32m"]


@pytest.mark.parametrize("address", ["file:///etc", "ftp://host/x", "/etc"])
def test_only_web_addresses_are_opened(address: str, tmp_path: Path):
    with pytest.raises(DataError, match="is no web address"):
        download("ml-1m", tmp_path, base_url=address)


def test_the_mirror_can_be_named_in_the_environment(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mirror.put("ml-1m", ml_1m())
    monkeypatch.setenv("RECBLR_MIRROR", mirror.url + "/")
    assert download("ml-1m", tmp_path).is_dir()
    assert GROUPLENS.startswith("https://")


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/evil.txt", "ml-1m/../../evil.txt", "ml-1m\\..\\evil.txt", "C:/evil.txt"]
)
def test_an_archive_that_leaves_its_folder_is_refused_whole(mirror: Mirror, tmp_path: Path, name: str):
    mirror.put("ml-1m", ml_1m(**{name: "gotcha"}))
    with pytest.raises(DataError, match="leaves its folder: nothing was unpacked"):
        download("ml-1m", tmp_path / "data", base_url=mirror.url)
    assert left_in(tmp_path / "data") == ["ml-1m.zip.part"]
    assert left_in(tmp_path) == ["data"]


def test_a_link_in_an_archive_is_refused(mirror: Mirror, tmp_path: Path):
    data = io.BytesIO(ml_1m())
    with zipfile.ZipFile(data, "a") as packed:
        link = zipfile.ZipInfo("ml-1m/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "/etc/passwd")
    mirror.put("ml-1m", data.getvalue())
    with pytest.raises(DataError, match="'ml-1m/link' leaves its folder"):
        download("ml-1m", tmp_path, base_url=mirror.url)


def test_an_archive_that_would_fill_the_disk_is_refused(mirror: Mirror, tmp_path: Path):
    mirror.put("ml-1m", ml_1m(**{"ml-1m/zeros": "0" * 8_000_000}))
    with pytest.raises(DataError, match=r"would grow to 8,.* bytes: not an archive of a log"):
        download("ml-1m", tmp_path, base_url=mirror.url)


def test_an_archive_of_another_log_is_refused(mirror: Mirror, tmp_path: Path):
    mirror.put("ml-1m", archive(**{"other/ratings.dat": RATINGS}))
    with pytest.raises(DataError, match=r"holds no folder 'ml-1m': this is another archive"):
        download("ml-1m", tmp_path, base_url=mirror.url)
    assert left_in(tmp_path) == ["ml-1m.zip.part"]


def test_a_published_file_that_is_no_archive_is_refused(mirror: Mirror, tmp_path: Path):
    mirror.put("ml-1m", b"<html>moved</html>")
    with pytest.raises(DataError, match="File is not a zip file"):
        download("ml-1m", tmp_path, base_url=mirror.url)


def test_a_root_that_cannot_be_made_is_said_so(mirror: Mirror, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        download("ml-1m", tmp_path / "file" / "data", base_url=mirror.url)
