"""Nothing that goes wrong reaches a reader raw."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from tests_app import APP


def failing(error: str) -> str:
    return f"""
import sys
sys.path.insert(0, {str(APP)!r})
import streamlit as st
from guard import guard
from recblr.errors import RecblrError
with guard():
    raise {error}
st.write("the rest of the page")
"""


def test_a_known_error_shows_its_own_text_and_the_page_goes_on() -> None:
    at = AppTest.from_string(failing("RecblrError('the log has no column user: name it with --user')")).run()
    assert at.error[0].value == "the log has no column user: name it with --user"
    assert at.markdown[0].value == "the rest of the page"
    assert not at.exception


def test_an_unknown_error_is_logged_and_apologised_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import guard

    log = tmp_path / "logs/app.log"
    monkeypatch.setenv("RECBLR_LOG", str(log))
    monkeypatch.setattr(guard.LOGGER, "handlers", [])
    at = AppTest.from_string(failing("KeyError('secret')")).run()
    assert not at.exception
    assert "Sorry" in at.error[0].value
    assert str(log) in at.error[0].value
    assert "secret" not in at.error[0].value
    assert "KeyError: 'secret'" in log.read_text()


def test_a_log_that_cannot_be_written_is_no_second_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import guard

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RECBLR_LOG", str(tmp_path / "file/app.log"))
    monkeypatch.setattr(guard.LOGGER, "handlers", [])
    at = AppTest.from_string(failing("KeyError('x')")).run()
    assert "the terminal that runs the app" in at.error[0].value
