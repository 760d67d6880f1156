"""What README and CONTRIBUTING tell a reader to do must exist."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from recblr.cli import COMMANDS, find_command
from recblr.errors import RecblrError
from recblr.evaluation.table import rows_by_cause

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = (
    *DOCUMENTS,
    "sample_data/README.md",
    "sample_data/checkpoints/README.md",
    "recblr/results/README.md",
    "recblr/results/explanations.md",
)


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def code_of(document: str, language: str = r"\w*") -> list[str]:
    """Fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(document), flags=re.MULTILINE | re.DOTALL)


def spoken_of(document: str) -> str:
    """All code of a document: fenced blocks and inline spans."""
    inline = re.findall(r"`([^`\n]+)`", text_of(document))
    return "\n".join([*code_of(document), *inline])


def links_of(document: str) -> list[str]:
    text = text_of(document)
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'<(?:img|a)[^>]*(?:src|href)="([^"]+)"', text)


def anchor(heading: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_a_document_names_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    commands = re.findall(r"^(?:[A-Z_]+=\S+ )*make ((?:[a-z]+ ?)+)", spoken_of(document), flags=re.MULTILINE)
    named = {name for command in commands for name in command.split()}
    assert named <= targets, f"{document} names {sorted(named - targets)}; the Makefile has {sorted(targets)}"


@pytest.mark.parametrize("document", PAGES)
def test_every_local_link_resolves(document: str) -> None:
    for link in links_of(document):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), f"{document} links to {link}, and there is no {path}"
        if fragment:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert fragment in {anchor(heading) for heading in headings}, f"{document} links to {link}: no such heading"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_a_document_names_exists(document: str) -> None:
    tops = {path.name for path in ROOT.iterdir()} - {"runs"}
    for span in re.findall(r"`([\w.\-/]+)`", text_of(document)):
        if span.partition("/")[0] in tops and "/" in span:
            assert (ROOT / span).exists(), f"{document} names {span}, which does not exist"


def test_readme_and_the_check_command_say_the_same() -> None:
    command = re.search(r"^exec (make .*?) <", (ROOT / ".ci/run").read_text(), flags=re.MULTILINE)
    assert command is not None
    assert f"`{command[1]}`" in text_of("README.md"), f".ci/run runs {command[1]!r}, which README does not say"


def test_documents_and_the_command_line_name_the_same_commands() -> None:
    named = {name for document in DOCUMENTS for name in re.findall(r"^recblr ([a-z-]+)", spoken_of(document), re.M)}
    assert named == set(COMMANDS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_line_for_the_command_line_is_understood(document: str) -> None:
    """Parsed and not run: an unknown option or a missing one ends the parser."""
    for line in "\n".join(code_of(document, "bash")).splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["recblr"]:
            try:
                find_command(words[1]).parse(f"recblr {words[1]}", words[2:])
            except (SystemExit, RecblrError) as error:
                pytest.fail(f"{document}: {line}\n{error}")


def test_the_python_in_the_readme_runs_as_it_stands() -> None:
    blocks = code_of("README.md", "python")
    assert blocks
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        assert done.stdout.strip()


RUNS = sorted((ROOT / "sample_data" / "checkpoints").glob("*/*/metrics.json"))


@pytest.mark.parametrize("path", RUNS, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_the_readme_gives_the_figures_of_every_shipped_run_as_they_were_measured(path: Path) -> None:
    measured = json.loads(path.read_text(encoding="utf-8"))["test"]
    figures = [f"{measured['metrics'][name]:.4f}" for name in ("HR@10", "NDCG@10")]
    wanted = [path.relative_to(ROOT).as_posix(), measured["protocol"]["name"], *figures]
    rows = [line for line in text_of("README.md").splitlines() if line.startswith("|") and wanted[0] in line]
    assert len(rows) == 1, f"README needs one row for this run: | [model]({wanted[0]}) | {' | '.join(wanted[1:])} |"
    cells = {cell.strip(" `") for cell in rows[0].split("|")}
    assert set(wanted[1:]) <= cells, f"README says {rows[0]}; measured were {wanted[1:]}"


def test_the_page_by_cause_gives_the_table_that_its_command_prints() -> None:
    _, lines = rows_by_cause(ROOT / "sample_data" / "checkpoints")
    text = text_of("sample_data/checkpoints/README.md")
    for line in lines:
        assert line.replace("(checkpoints/", "(") in text, f"the page lacks the row {line}"
