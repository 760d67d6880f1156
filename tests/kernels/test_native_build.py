"""The native library is built once, whole, and again where the cached file is damaged."""

import os
import subprocess
import sys

import lrscan
import pytest
from lrscan.native import unavailable
from lrscan.native.build import cache_folder

needs_compiler = pytest.mark.skipif(unavailable() is not None, reason=f"no native backend: {unavailable()}")
ASK = (
    "import lrscan, torch; lrscan.linear_scan(torch.ones(1, 2, 1), torch.ones(1, 2, 1), backend='native'); print('ran')"
)


def ask(cache, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", ASK], env={**os.environ, "XDG_CACHE_HOME": str(cache), **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@needs_compiler
def test_two_processes_may_build_at_once_and_a_damaged_file_is_built_again(tmp_path):
    first, second = ask(tmp_path), ask(tmp_path)
    assert [first.communicate()[0], second.communicate()[0]] == ["ran\n", "ran\n"]
    (built,) = (tmp_path / "lrscan").iterdir()
    built.write_bytes(built.read_bytes()[:1000])
    assert ask(tmp_path).communicate()[0] == "ran\n"
    assert [path.name for path in (tmp_path / "lrscan").iterdir()] == [built.name]


def test_a_machine_without_a_compiler_says_so_and_auto_goes_on(tmp_path):
    child = ask(tmp_path, PATH="", CC="")
    assert "no C compiler" in child.communicate()[1]
    auto = ASK.replace("'native'", "'auto'")
    done = subprocess.run(
        [sys.executable, "-c", auto], env={"XDG_CACHE_HOME": str(tmp_path), "PATH": ""}, capture_output=True, text=True
    )
    assert done.stdout == "ran\n", done.stderr


def test_the_backends_are_listed_with_their_reasons():
    assert list(lrscan.backends()) == ["triton", "triton-interpret", "native", "torch", "reference"]
    assert lrscan.backends()["torch"] is None
    assert cache_folder().name == "lrscan"
