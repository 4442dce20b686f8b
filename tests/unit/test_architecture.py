"""The shape of the code: imports flow one way, modules stay small, quick commands stay quick."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "hpcjobs"

# A module may import from its own line and from those above it.
FLOW = (
    ("__init__",),
    ("errors", "durations", "processes", "files", "model", "price"),
    ("workspace", "queueing"),
    ("config",),
    ("evaluators",),
    ("plan", "packing", "servers", "templating"),
    ("schedulers",),
    ("render",),
    ("commands", "journal", "lock", "markers", "place", "store"),
    ("shares", "parts"),
    ("evidence", "spending", "runtimes", "progress"),
    ("diagnosis",),
    ("retry", "feeding"),
    ("ask",),
    ("results",),
    ("observe", "notify"),
    ("clean", "publishing"),
    ("cancel", "submit", "assemble", "predownload", "thinking"),
    ("campaign",),
    ("doctor",),
    ("cli",),
    ("__main__",),
)
APART = "local"
"""The local queue is a program of its own: it knows the foundations only, and nobody imports it."""

LINES = 300
QUICK = {  # what a command must not import, since it costs a cold disk seconds
    ("--version",): ("yaml", "jinja2", "dotenv", "hpcjobs.observe", "hpcjobs.render"),
    ("--help",): ("yaml", "jinja2", "dotenv", "hpcjobs.observe", "hpcjobs.render"),
    ("status",): ("jinja2", "dotenv", "hpcjobs.render", "hpcjobs.results.aggregate"),
    ("compare", "--help"): ("yaml", "jinja2", "hpcjobs.results.aggregate"),
    ("export", "--help"): ("yaml", "jinja2", "hpcjobs.results.aggregate"),
    ("report", "--help"): ("yaml", "jinja2", "hpcjobs.results.aggregate"),
    ("status", "--help"): ("yaml", "jinja2", "dotenv", "hpcjobs.observe"),
}
NEVER = (
    "pandas",
    "pyarrow",
    "numpy",
    "pydantic",
    "rich",
    "submitit",
    "requests",
    "torch",
    "sqlite3",
)

MODULES = sorted(PACKAGE.rglob("*.py"))
PARTS = {name for line in FLOW for name in line} | {APART}


def shown(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def part(path: Path) -> str:
    """The first name below `hpcjobs`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """First name below `hpcjobs` and line of every import of ours, also within functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{shown(path)}:{node.lineno}: a relative import"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            if first == "hpcjobs":
                below = rest.partition(".")[0]
                yield (below if below in PARTS else "__init__"), node.lineno


def may_import(path: Path) -> set[str]:
    own = part(path)
    if own == APART:
        return {*FLOW[0], *FLOW[1], *FLOW[2], APART}
    level = next(index for index, line in enumerate(FLOW) if own in line)
    return {name for line in FLOW[: level + 1] for name in line}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """The public functions, classes and methods of a module."""
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    for parent in nodes:
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                yield node
                if isinstance(node, ast.ClassDef):
                    nodes.append(node)


def test_there_are_modules_to_look_at() -> None:
    assert len(MODULES) > 40


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_every_module_has_its_place(path: Path) -> None:
    assert part(path) in PARTS


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_imports_flow_one_way(path: Path) -> None:
    wrong = [f"line {line}: {name}" for name, line in imports(path) if name not in may_import(path)]
    assert not wrong


def test_only_the_tables_use_pandas() -> None:
    using = {shown(path) for path in MODULES if re.search(r"\bpandas\b", code_of(path))}
    assert using == {"results/tables.py"}


def code_of(path: Path) -> str:
    """A module without its comments and docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not is_text(one)]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def test_nothing_but_the_command_imports_the_command_line() -> None:
    importing = {
        shown(path)
        for path in MODULES
        for name, _ in imports(path)
        if name == "cli" and part(path) != "cli"
    }
    assert importing == {"__main__.py"}


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_a_module_begins_with_what_it_answers(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "path", [path for path in MODULES if part(path) != "cli"], ids=lambda path: shown(path)
)
def test_a_module_stays_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_what_is_public_is_explained(path: Path) -> None:
    missing = [f"{node.name}, line {node.lineno}" for node in functions(path)
               if not ast.get_docstring(node)]  # fmt: skip
    assert not missing


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_no_module_is_a_drawer_for_everything(path: Path) -> None:
    assert path.stem not in ("utils", "util", "helpers", "helper", "common", "misc", "manager")


@pytest.mark.parametrize(
    "path", [path for path in MODULES if shown(path) in ("plan.py", "evidence.py", "servers.py",
                                                         "retry.py", "feeding.py")]
    + [path for path in MODULES if part(path) in ("schedulers", "evaluators")]
    + [path for path in MODULES
       if part(path) in ("diagnosis", "progress") and path.stem != "reading"],
    ids=lambda path: shown(path),
)  # fmt: skip
def test_what_decides_touches_neither_files_nor_programs_nor_the_clock(path: Path) -> None:
    forbidden = {"os", "time", "subprocess", "random", "socket", "shutil", "datetime", "secrets"}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & forbidden
    called = {node.func.id for node in ast.walk(tree)
              if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
    assert not called & {"open", "print", "input", "exec", "eval"}


@pytest.mark.parametrize("command", QUICK, ids=" ".join)
def test_a_quick_command_imports_little(command: tuple[str, ...], tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from hpcjobs.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "finally:\n"
        "    print('\\n'.join(sys.modules), file=sys.stderr)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    imported = set(ended.stderr.splitlines())
    assert "hpcjobs.cli" in imported
    assert not imported & {*QUICK[command], *NEVER}
