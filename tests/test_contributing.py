"""The backbone that CONTRIBUTING shows is a real one: it passes the contract that the shipped ones pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONTRACT = "tests/recblr/backbones"
PLUGIN = """
import pytest


@pytest.hookimpl(trylast=True)
def pytest_configure():
    from recblr.backbones import REGISTRY
    from shown import EMA

    REGISTRY[EMA.name] = EMA


def pytest_collection_modifyitems(items):
    for item in items:
        if hasattr(item.module, "PARAMETERS"):
            item.module.PARAMETERS["ema"] = {parameters}
"""
"""A pytest plugin: the steps after the first, for one run; after the hook that checks shapes, before any test."""


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """A folder with the module as CONTRIBUTING shows it, and the plugin that registers it for one run."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    (parameters,) = re.findall(r'^    "ema": ([\d_]+),$', text, flags=re.MULTILINE)
    (tmp_path / "shown.py").write_text(block, encoding="utf-8")
    (tmp_path / "registered.py").write_text(PLUGIN.format(parameters=parameters), encoding="utf-8")
    return tmp_path


def run(*arguments: str, path: Path) -> subprocess.CompletedProcess[str]:
    """A command of this environment, at the root, with `path` importable and as no worker of this run."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**inherited, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1"},
    )


def test_the_backbone_in_contributing_passes_the_contract(shown: Path) -> None:
    done = run("pytest", "-q", "-p", "registered", "-p", "no:cacheprovider", CONTRACT, "-k", "ema", path=shown)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 10, f"the contract ran only {passed[1]} tests on it:\n{done.stdout}"


def test_the_backbone_in_contributing_keeps_the_rules_of_style(shown: Path) -> None:
    for command in (["check"], ["format", "--check"]):
        done = run("ruff", *command, "--config", str(ROOT / "pyproject.toml"), str(shown / "shown.py"), path=shown)
        assert done.returncode == 0, done.stdout + done.stderr
