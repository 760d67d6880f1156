"""The rules of the house: which way imports point, what stays out, and what each file may hold.

A rule takes a tree of files (path -> text) and returns what breaks it as "path:line: why".
Each is run on the project, and on a small tree with a planted violation, so that a rule which sees nothing fails.
"""

from __future__ import annotations

import ast
import fnmatch
import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
Tree = dict[str, str]
Rule = Callable[[Tree], list[str]]

LEVELS = (
    ("lrscan",),
    ("recblr.errors", "recblr.typed"),
    ("recblr.trace", "recblr.matrix_trace", "recblr.data"),
    ("recblr.backbones.base",),
    ("recblr.layers",),
    ("recblr.backbones",),
    ("recblr",),
    ("recblr.explain",),
    ("recblr.figures",),
    ("recblr.cli",),
)
"""Lowest first; a module imports from its own level and those below. What has no entry of its own stands with `recblr`:
run folders, training, evaluation, streaming."""

FRONT_DOOR = "recblr/__init__.py"
"""Offers names of every level."""

OPTIONAL = {
    "polars": "read where a caller hands over a polars frame; pandas is enough",
    "transformers": "takes seconds to import, and only who builds an HLLM needs it",
    "tokenizers": "as transformers, which brings it",
    "huggingface_hub": "as transformers, which brings it",
}
"""Packages that need not be installed, so they are imported inside the function that uses them."""

DEFERRED = {
    FRONT_DOOR: "`import recblr` must not wait for torch before a name is used",
    "recblr/data/__init__.py": "as above: what encodes sequences must not wait for the table libraries of the readers",
    "recblr/explain/__init__.py": "as above: menus of methods are drawn before torch or captum is needed",
    "recblr/cli/__init__.py": "`recblr --help` must not wait for torch, nor one command for what another needs",
    "kernels/lrscan/triton/__init__.py": "whether there is a GPU must be known before Triton is imported",
    **{
        f"app/cache/{name}.py": "the first page is drawn before torch is imported"
        for name in ("__init__", "sources", "answers", "variants", "records")
    },
}
"""Files whose functions may import from the project itself."""

PICKLERS = {"pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}
PICKLING_CALLS = {"torch.load", "torch.save", "pd.read_pickle", "pandas.read_pickle", "yaml.load", "yaml.unsafe_load"}
MACHINE_PATH = re.compile(r"(?<![\w.\-])/(?:work|tmp|root|home|Users|opt)(?=/)")
REGISTRY_HOST = re.compile(r"(?:\bpypi|\bpythonhosted|download\.pytorch|conda\.anaconda)\.org\b")
LARGEST_FILE = 2_000_000  # bytes


def test_streamlit_is_imported_only_under_app(project: Tree) -> None:
    none_of(streamlit_outside_app(project))


def test_pages_import_no_torch(project: Tree) -> None:
    none_of(torch_in_pages(project))


def test_streamlit_caches_are_decorated_only_in_cache_py(project: Tree) -> None:
    none_of(streamlit_cache_elsewhere(project))


def test_url_parameters_are_named_only_in_choices_and_links(project: Tree) -> None:
    none_of(query_params_elsewhere(project))


def test_kernels_import_nothing_of_recblr_or_app(project: Tree) -> None:
    none_of(kernels_upward(project))


def test_plotly_is_imported_only_under_figures(project: Tree) -> None:
    none_of(plotly_outside_figures(project))


def test_recblr_never_imports_app(project: Tree) -> None:
    none_of(recblr_imports_app(project))


def test_imports_point_down_the_levels(project: Tree) -> None:
    none_of(upward_imports(project))


def test_no_modules_import_each_other_in_a_circle(project: Tree) -> None:
    none_of(import_circles(project))


def test_imports_inside_functions_are_only_the_listed_ones(project: Tree) -> None:
    none_of(unlisted_deferred_imports(project))


def test_nothing_pickles_or_evaluates_text(project: Tree) -> None:
    none_of(pickles_or_evaluates(project))


def test_no_file_names_a_path_of_one_machine(project: Tree) -> None:
    none_of(machine_paths(project))


def test_no_file_names_a_package_registry(project: Tree) -> None:
    none_of(registry_hosts(project))


def test_every_notebook_has_its_script(project: Tree) -> None:
    none_of(notebooks_without_twin(project))


def test_no_file_is_over_two_megabytes() -> None:
    large = [f"{path}: {size:,} bytes" for path in paths() if (size := (ROOT / path).stat().st_size) > LARGEST_FILE]
    none_of(large)


def streamlit_outside_app(tree: Tree) -> list[str]:
    return imports_of(tree, {"streamlit"}, lambda path: not path.startswith(("app/", "tests/app/")))


def torch_in_pages(tree: Tree) -> list[str]:
    return imports_of(tree, {"torch"}, lambda path: path.startswith("app/app_pages/"))


def plotly_outside_figures(tree: Tree) -> list[str]:
    return imports_of(tree, {"plotly"}, lambda path: not path.startswith(("recblr/figures/", "tests/")))


def recblr_imports_app(tree: Tree) -> list[str]:
    return imports_of(tree, app_modules(tree), lambda path: path.startswith("recblr/"))


def kernels_upward(tree: Tree) -> list[str]:
    return imports_of(tree, {"recblr"} | app_modules(tree), lambda path: path.startswith("kernels/"))


def streamlit_cache_elsewhere(tree: Tree) -> list[str]:
    found = []
    for path, node in nodes(tree, lambda path: not path.startswith(("app/cache/", "tests/"))):
        attribute = isinstance(node, ast.Attribute) and dotted(node.value) in {"st", "streamlit"}
        if attribute and node.attr.startswith("cache"):
            found.append(f"{path}:{node.lineno}: st.{node.attr} belongs in app/cache")
        if isinstance(node, ast.ImportFrom) and node.module == "streamlit":
            names = [alias.name for alias in node.names if alias.name.startswith("cache")]
            found += [f"{path}:{node.lineno}: {name} belongs in app/cache" for name in names]
    return found


def query_params_elsewhere(tree: Tree) -> list[str]:
    allowed = {"app/choices.py", "app/links.py"}
    found = []
    for path, node in nodes(tree, lambda path: path not in allowed and not path.startswith("tests/")):
        named = (
            (isinstance(node, ast.Attribute) and "query_params" in node.attr)
            or (isinstance(node, ast.keyword) and node.arg == "query_params")
            or (isinstance(node, ast.Constant) and node.value == "query-params")
            or (isinstance(node, ast.alias) and "query_params" in node.name)
        )
        if named:
            found.append(f"{path}:{node.lineno}: URL parameters belong in app/choices.py and app/links.py")
    return found


def upward_imports(tree: Tree) -> list[str]:
    found = {}
    for path, source in python_files(tree, ("recblr/", "kernels/lrscan/")):
        name = module_name(path)
        for line, target in imports(source, name, is_package=path.endswith("__init__.py")):
            if level(target) > level(name) and path != FRONT_DOOR:
                found[f"{path}:{line}"] = f"{name} imports {target}, which stands above it"
    return [f"{where}: {why}" for where, why in found.items()]


def import_circles(tree: Tree) -> list[str]:
    """Follows imports at the top of a module, those for type checking too: a circle there is one in the design.

    The front door is left out: it imports a module only when a name of it is used.
    """
    sources = [path for path, _ in python_files(tree, ("recblr/", "kernels/lrscan/", "app/")) if path != FRONT_DOOR]
    modules = {module_name(path): path for path in sources}
    edges: dict[str, dict[str, int]] = {name: {} for name in modules}
    for name, path in modules.items():
        package = path.endswith("__init__.py")
        for line, target in imports(tree[path], name, is_package=package, top_level=True):
            known = target if target in modules else target.rpartition(".")[0]
            if known in modules and known != name:
                edges[name].setdefault(known, line)
    found = []
    for circle in circles(edges):
        start, following = circle[0], circle[1]
        found.append(f"{modules[start]}:{edges[start][following]}: circle {' -> '.join(circle)}")
    return found


def unlisted_deferred_imports(tree: Tree) -> list[str]:
    found = []
    for path, source in python_files(tree, ("recblr/", "kernels/", "app/")):
        for line, target in deferred_imports(parsed(source)):
            if target.partition(".")[0] not in OPTIONAL and path not in DEFERRED:
                found.append(f"{path}:{line}: {target} is imported inside a function and not listed with a reason")
    return found


def pickles_or_evaluates(tree: Tree) -> list[str]:
    found = imports_of(tree, PICKLERS, lambda path: not path.startswith("tests/"))
    for path, node in nodes(tree, lambda path: not path.startswith("tests/")):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in PICKLING_CALLS | {"eval", "exec"} or name.endswith(".to_pickle"):
                found.append(f"{path}:{node.lineno}: {name}() runs what a file says, or writes what only that can read")
            if any(word.arg == "allow_pickle" and dotted(word.value) != "False" for word in node.keywords):
                found.append(f"{path}:{node.lineno}: allow_pickle runs what a file says")
    return found


def machine_paths(tree: Tree) -> list[str]:
    return lines_matching(tree, MACHINE_PATH, "a path of one machine")


def registry_hosts(tree: Tree) -> list[str]:
    return lines_matching(tree, REGISTRY_HOST, "a package registry: whoever installs chooses it")


def notebooks_without_twin(tree: Tree) -> list[str]:
    here = {path for path in tree if path.startswith("notebooks/")}
    twins = {".ipynb": ".py", ".py": ".ipynb"}
    return [
        f"{path}:1: {stem + twins[suffix]} is missing"
        for path in sorted(here)
        for stem, suffix in [os.path.splitext(path)]
        if suffix in twins and stem + twins[suffix] not in here
    ]


PLANTED: list[tuple[Rule, Tree, str]] = [
    (streamlit_outside_app, {"recblr/a.py": "import numpy\nimport streamlit as st\n"}, "recblr/a.py:2"),
    (streamlit_outside_app, {"notebooks/a.py": "def f():\n    from streamlit import write\n"}, "notebooks/a.py:2"),
    (torch_in_pages, {"app/app_pages/a.py": "from torch.nn import Linear\n"}, "app/app_pages/a.py:1"),
    (streamlit_cache_elsewhere, {"app/a.py": "\n@st.cache_data\ndef f(): ...\n"}, "app/a.py:2"),
    (streamlit_cache_elsewhere, {"app/a.py": "from streamlit import cache_resource\n"}, "app/a.py:1"),
    (query_params_elsewhere, {"app/a.py": "user = st.query_params['user']\n"}, "app/a.py:1"),
    (query_params_elsewhere, {"app/a.py": "st.page_link(page, query_params={'user': '1'})\n"}, "app/a.py:1"),
    (query_params_elsewhere, {"app/a.py": "st.slider('Step', bind='query-params')\n"}, "app/a.py:1"),
    (kernels_upward, {"kernels/lrscan/a.py": "from recblr import trace\n"}, "kernels/lrscan/a.py:1"),
    (plotly_outside_figures, {"app/a.py": "import plotly.graph_objects as go\n"}, "app/a.py:1"),
    (recblr_imports_app, {"recblr/a.py": "import choices\n", "app/choices.py": ""}, "recblr/a.py:1"),
    (upward_imports, {"recblr/explain/a.py": "from recblr.figures import b\n"}, "recblr/explain/a.py:1"),
    (upward_imports, {"recblr/explain/a.py": "from .. import figures\n"}, "recblr/explain/a.py:1"),
    (upward_imports, {"recblr/data/a.py": "def f():\n    import recblr.backbones.base\n"}, "recblr/data/a.py:2"),
    (import_circles, {"recblr/a.py": "from recblr.b import x\n", "recblr/b.py": "import recblr.a\n"}, "recblr/a.py:1"),
    (unlisted_deferred_imports, {"recblr/a.py": "def f():\n    from recblr import b\n"}, "recblr/a.py:2"),
    (unlisted_deferred_imports, {"app/a.py": "def f():\n    importlib.import_module('x')\n"}, "app/a.py:2"),
    (pickles_or_evaluates, {"recblr/a.py": "import pickle\n"}, "recblr/a.py:1"),
    (pickles_or_evaluates, {"recblr/a.py": "model.eval()\neval('1')\n"}, "recblr/a.py:2"),
    (pickles_or_evaluates, {"recblr/a.py": "torch.load(path)\n"}, "recblr/a.py:1"),
    (pickles_or_evaluates, {"recblr/a.py": "np.load(path, allow_pickle=True)\n"}, "recblr/a.py:1"),
    (machine_paths, {"README.md": "one\nlook in " + "/home" + "/ada/logs\n"}, "README.md:2"),
    (registry_hosts, {"requirements.txt": "--index-url https://" + "pypi" + ".org/simple\n"}, "requirements.txt:1"),
    (notebooks_without_twin, {"notebooks/a.ipynb": "{}"}, "notebooks/a.ipynb:1"),
]


@pytest.mark.parametrize(("rule", "tree", "where"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_each_rule_catches_a_planted_violation(rule: Rule, tree: Tree, where: str) -> None:
    found = rule(tree)
    assert len(found) == 1, found
    assert found[0].startswith(f"{where}: ")


# Reading the tree


@pytest.fixture(scope="module")
def project() -> Tree:
    """Every text file of the project that .gitignore does not name."""
    tree = {}
    for path in paths():
        raw = (ROOT / path).read_bytes()
        if b"\0" not in raw[:4096] and len(raw) <= LARGEST_FILE:
            tree[path] = raw.decode("utf-8", errors="replace")
    assert "recblr/errors.py" in tree, "the tests look at the wrong folder"
    return tree


def none_of(violations: list[str]) -> None:
    if violations:
        pytest.fail("\n".join(violations), pytrace=False)


@cache
def paths() -> tuple[str, ...]:
    """Read from the folder and not from git, so that an unpacked archive is checked too."""
    ignored = [".git/", *(ROOT / ".gitignore").read_text().split()]

    def is_ignored(relative: str, folder: bool) -> bool:
        name = relative.rpartition("/")[2]
        return any(
            (folder or not pattern.endswith("/"))
            and fnmatch.fnmatch("/" + relative if pattern.startswith("/") else name, pattern.rstrip("/"))
            for pattern in ignored
        )

    found = []
    for where, folders, files in os.walk(ROOT):
        here = "" if Path(where) == ROOT else Path(where).relative_to(ROOT).as_posix() + "/"
        folders[:] = [name for name in folders if not is_ignored(here + name, folder=True)]
        found += [here + name for name in files if not is_ignored(here + name, folder=False)]
    return tuple(sorted(found))


def python_files(tree: Tree, under: tuple[str, ...] = ("",)) -> Iterator[tuple[str, str]]:
    return ((path, text) for path, text in tree.items() if path.endswith(".py") and path.startswith(under))


@cache
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


def nodes(tree: Tree, wanted: Callable[[str], bool]) -> Iterator[tuple[str, ast.AST]]:
    return ((path, node) for path, source in python_files(tree) if wanted(path) for node in ast.walk(parsed(source)))


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an expression, or an empty text where it is not a plain name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else str(node.value) if isinstance(node, ast.Constant) else ""


def module_name(path: str) -> str:
    """As imports write it: `kernels/` and `app/` stand on the path of the running app, and are not packages."""
    inner = path.removeprefix("kernels/").removeprefix("app/")
    return inner.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def app_modules(tree: Tree) -> set[str]:
    """`app` and the modules in it, which are importable by their bare names while the app runs."""
    return {"app"} | {path.split("/")[1].removesuffix(".py") for path, _ in python_files(tree, ("app/",))}


def imports(source: str, importer: str, *, is_package: bool, top_level: bool = False) -> Iterator[tuple[int, str]]:
    """(line, module) of each import; `from a import b` counts as a.b, which may be a module."""
    deferred = {id(node) for node in deferred_nodes(parsed(source))} if top_level else set()
    for node in ast.walk(parsed(source)):
        if id(node) in deferred:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = importer.split(".")
                parent = parts[: len(parts) - node.level + (1 if is_package else 0)]
                base = ".".join([*parent, base] if base else parent)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def imports_of(tree: Tree, roots: set[str], wanted: Callable[[str], bool]) -> list[str]:
    found = []
    for path, source in python_files(tree):
        if wanted(path):
            targets = imports(source, module_name(path), is_package=path.endswith("__init__.py"))
            lines = {(line, name.partition(".")[0]) for line, name in targets if name.partition(".")[0] in roots}
            found += [f"{path}:{line}: imports {root}" for line, root in sorted(lines)]
    return found


def deferred_nodes(module: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (inner for statement in node.body for inner in ast.walk(statement))


def deferred_imports(module: ast.Module) -> list[tuple[int, str]]:
    """(line, module) of imports inside functions, by statement or by call."""
    found = set()
    for node in deferred_nodes(module):
        if isinstance(node, ast.Import):
            found |= {(node.lineno, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.lineno, node.module or "."))
        elif isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in {"import_module", "__import__"}:
            found.add((node.lineno, dotted(node.args[0]) or "a computed name"))
    return sorted(found)


def level(module: str) -> int:
    """Height of the longest entry of LEVELS that holds the module; -1 for what is not ours."""
    entries = [(len(name), height) for height, names in enumerate(LEVELS) for name in names if in_(module, name)]
    return max(entries, default=(0, -1))[1]


def in_(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def circles(edges: dict[str, dict[str, int]]) -> list[list[str]]:
    """Circles that a walk over the graph closes, their first module repeated at the end; none only if there is none."""
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> None:
        if name in trail:
            found.append([*trail[trail.index(name) :], name])
        elif name not in done:
            for following in edges[name]:
                walk(following, [*trail, name])
            done.add(name)

    for name in sorted(edges):
        walk(name, [])
    return found


def lines_matching(tree: Tree, pattern: re.Pattern[str], why: str) -> list[str]:
    return [
        f"{path}:{number}: {match.group()} is {why}"
        for path, text in tree.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if (match := pattern.search(line))
    ]
