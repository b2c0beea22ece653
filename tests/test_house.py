"""Rules of the repository: who may import whom, what ``import nws_data`` loads, what the wheel holds, sizes."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.processes import python

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "nws_data": set(),
    "builders": {"nws_data"},
    "baselines": {"nws_data"},
    "benchmarks": {"nws_data", "builders", "baselines"},
}
HEAVY = (
    "lightning",
    "ray",
    "torchvision",
    "torchmetrics",
    "datasets",
    "pyarrow",
    "matplotlib",
    "sklearn",
    "pandas",
    "scipy",
)
LIBRARY_NEEDS = {
    "torch",
    "numpy",
    "safetensors",
    "datasets",
    "huggingface_hub",
    "filelock",
    "pyarrow",
    "pandas",
    "fsspec",
    "yaml",
    "tqdm",
    "scipy",
}
"""What the wheel's dependencies bring, by import name."""

EXTRA_NEEDS = {"nws_data/tasks/lightning.py": {"lightning"}} | {
    f"nws_data/plot/{name}.py": {"matplotlib"} for name in ("style", "trajectory", "weights")
}
"""Modules that only an extra's users import, and what it brings."""


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def tracked(*patterns: str) -> list[Path]:
    """Files that git tracks; the test needs a checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, top-level package) of every import in a file, those inside functions included."""
    package = path.relative_to(ROOT).parts[0]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, package if node.level else (node.module or "").split(".")[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_the_dependency_rule(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    forbidden = {*MAY_IMPORT, "tests"} - MAY_IMPORT[package] - {package}
    broken = [
        f"{path.relative_to(ROOT)}:{line} {name}" for path in files for line, name in imported(path) if name in forbidden
    ]
    assert broken == []


FOLDERS = {
    "nws_data": {
        "": set(),
        "space": {""},
        "format": {"", "space"},
        "write": {"", "space", "format"},
        "check": {"", "space", "format"},
        "convert": {"", "space", "format", "write"},
        "hub": {"", "space", "format", "write", "check"},
        "read": {"", "space", "format", "hub"},
        "features": {"", "space", "format", "read"},
        "tasks": {"", "space", "format", "read"},
        "plot": {"", "space", "format", "read"},
    },
    "builders": {
        "plan": set(),
        "images": set(),
        "recipe": {"plan", "images"},
        "compute": {"plan", "images", "recipe"},
        "run": {"plan", "images", "recipe", "compute"},
        "estimate": {"plan", "images", "recipe", "compute", "run", "config"},
    },
}
"""What the files of a folder may import of its package, beside the folder itself; "" are the files beside the folders."""

ENTRY_POINTS = {
    "nws_data": {"__init__", "__main__", "cli"},
    "builders": {"__init__", "cli", "config", "build", "rebuild", "rescore"},
}


@pytest.mark.parametrize("package", FOLDERS)
def test_data_flows_one_way(package):
    broken = []
    for path in (ROOT / package).rglob("*.py"):
        place = path.relative_to(ROOT / package).parts
        if len(place) == 1 and path.stem in ENTRY_POINTS[package]:
            continue
        folder = place[0] if len(place) > 1 else ""
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            if not module.startswith(f"{package}."):
                continue
            parts = module.split(".")
            target = parts[1] if parts[1] in FOLDERS[package] or package == "builders" else ""
            if target not in FOLDERS[package][folder] | {folder}:
                broken.append(f"{path.relative_to(ROOT)}:{node.lineno} {module}")
    assert broken == []


def test_no_imports_in_a_circle():
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in tracked(*(f"{package}/*.py" for package in MAY_IMPORT))
    }
    graph = {}
    for name, path in modules.items():
        nodes = [node for node in ast.walk(ast.parse(path.read_text(), str(path))) if isinstance(node, ast.ImportFrom)]
        taken = {node.module for node in nodes} | {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}
        graph[name] = taken & modules.keys()
    assert sum(map(len, graph.values())) > 1000
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


def test_the_walk_sees_imports_wherever_they_stand(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "nws_data" / "x.py"
    path.parent.mkdir()
    path.write_text(
        "import os\ndef f():\n    from builders.compute.fleet import Fleet\n    from . import y\nimport a.b, c as d\n"
    )
    assert sorted(imported(path)) == [(1, "os"), (3, "builders"), (4, "nws_data"), (5, "a"), (5, "c")]


def test_the_library_imports_only_what_the_wheel_brings():
    allowed = {"nws_data", *sys.stdlib_module_names, *LIBRARY_NEEDS}
    for path in (ROOT / "nws_data").rglob("*.py"):
        extra = EXTRA_NEEDS.get(path.relative_to(ROOT).as_posix(), set())
        assert {name for _, name in imported(path)} <= allowed | extra, path


def test_commands_print_and_show_progress_in_one_place():
    """What a file says must not reach a terminal raw, and bars must not bury results."""
    found = set()
    for path in (path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        prints = any(isinstance(function, ast.Name) and function.id == "print" for function in calls)
        is_script = re.match(r"benchmarks/(?!cli\.py|quickstart\.py|leaderboard/)", name)  # run as python -m benchmarks...
        if prints and not is_script:
            found.add(f"{name} print")
        if "tqdm" in {module for _, module in imported(path)}:
            found.add(f"{name} tqdm")
    assert found == {"nws_data/terminal.py print", "nws_data/progress.py tqdm", "nws_data/hub/repository.py tqdm"}


def test_import_nws_data_is_light():
    code = f"import nws_data, sys, json; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    result = run("-c", code)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == []


@pytest.mark.slow
def test_public_names_are_there():
    code = """
import re, sys
sys.modules["lightning"] = None  # as where it is not installed
import nws_data
import nws_data.read.views
assert not {"datasets", "pyarrow"} & sys.modules.keys()
assert dir(nws_data) == nws_data.__all__ == sorted(nws_data.__all__)
assert set(re.findall("``([A-Za-z_]+)``", nws_data.__doc__)) - {"datasets"} <= set(nws_data.__all__), nws_data.__doc__
from nws_data import *
assert open is nws_data.open and issubclass(TaskNotAvailableError, NWSError) and "write_dataset" not in dir(nws_data)
errors = [value for value in vars(nws_data.errors).values() if isinstance(value, type) and issubclass(value, NWSError)]
assert {error.__name__ for error in errors} <= set(nws_data.__all__)
try:
    TaskDataModule(None)
except NWSError as error:
    assert str(error) == "TaskDataModule needs Lightning; install it with pip install 'nws-data[bench]'"
else:
    raise AssertionError
"""
    process = python(code)
    assert process.wait(300) == 0, process.printed()


def test_help_works_without_the_builders():
    result = run("-c", "from nws_data.cli import main; main(['--help'])")
    assert result.returncode == 0 and "build" in result.stdout and "verify" in result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built by its own backend without network."""
    folder = tmp_path_factory.mktemp("wheel")
    code = f"import hatchling.build; print(hatchling.build.build_wheel({str(folder)!r}))"
    result = run("-c", code)
    assert result.returncode == 0, result.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_library_alone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "nws_data").rglob("*.py")}
    metadata = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    assert names - metadata == {*sources, "nws_data/__init__.pyi", "nws_data/py.typed"}
    kinds = {name.split("/", 1)[1] for name in metadata}
    assert {"METADATA", "WHEEL", "RECORD", "entry_points.txt"} <= kinds


def test_the_wheel_works_without_the_checkout(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        entry_points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "nws = nws_data.cli:main" in archive.read(entry_points).decode()
    setup = (
        f"import sys; sys.path[:] = [{str(tmp_path / 'site')!r}] + [p for p in sys.path if p not in ('', {str(ROOT)!r})]\n"
    )
    code = setup + "import nws_data.cli as c; print(c.__file__); sys.exit(c.main(['build', '--preset', 'paper']))"
    result = run("-c", code, cwd=tmp_path)
    assert str(tmp_path) in result.stdout
    assert result.returncode == 2
    assert "needs the repository, not only the wheel" in result.stderr and "Traceback" not in result.stderr


def test_no_large_file_is_tracked():
    assert [path.name for path in tracked() if path.stat().st_size > 1_000_000] == []


def test_no_image_is_tracked():
    suffixes = {".gz", ".npz", ".npy", ".bin", ".mat", ".ubyte", ".pkl", ".pt"}
    assert [path.name for path in tracked() if path.suffix in suffixes] == []


def test_no_module_is_long():
    long = {path.name: n for path in tracked("*.py") if (n := len(path.read_text().splitlines())) > 500}
    assert long == {}


def test_no_function_is_long():
    long = []
    for package in MAY_IMPORT:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 60:
                    long.append(f"{path.name}:{node.name}")
    assert long == []


def without_encoding(source: str) -> list[int]:
    """Lines of calls that read or write text in whatever encoding the user's locale names."""
    found = []
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        position = 1 if isinstance(call.func, ast.Name) else 0  # of the mode: open(path, "r"), path.open("r")
        mode = given.get("mode", "".join(map(ast.unparse, call.args[position : position + 1])) or "'r'")
        opens = name == "open" and (isinstance(call.func, ast.Name) or re.fullmatch(r"'[rwaxbt+]+'", mode))
        text = name in ("read_text", "write_text") or given.get("text") == "True" or (opens and "b" not in mode)
        if text and "encoding" not in given:
            found.append(call.lineno)
    return found


def test_text_files_are_utf_8_whatever_the_locale():
    files = [path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")]
    found = {str(path.relative_to(ROOT)): lines for path in files if (lines := without_encoding(path.read_text()))}
    assert found == {}


def test_text_in_the_locales_encoding_is_seen():
    bad = ["open(p)", "open(p, 'w')", "p.open()", "p.open('a')", "p.read_text()", "p.write_text(t)", "run(c, text=True)"]
    good = ["open(p, 'rb')", "p.open('rb')", "nws_data.open(p)", "p.read_bytes()", "run(c, encoding='utf-8', text=True)"]
    assert without_encoding("\n".join(bad)) == [*range(1, len(bad) + 1)]
    assert without_encoding("\n".join(good)) == []
