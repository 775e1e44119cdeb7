"""The rules of the house: who may import whom, and what is imported only where it is needed."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "s3dis_seg"
FILES = sorted(PACKAGE.rglob("*.py"))

# Part -> the parts of ours it may import. `cli` may import everything, and only `tools` imports it.
ALLOWED = {
    "classes": set(),
    "files": set(),
    "devices": {"files"},
    "graph": set(),
    "data": {"classes", "files"},
    "models": {"classes", "files", "graph", "data"},
    "metrics": {"classes", "files"},
    "report": {"classes", "files", "data", "metrics", "view"},
    "training": {"classes", "files", "devices", "data", "models", "metrics"},
    "segmentation": {"classes", "files", "devices", "data", "models"},
    "evaluation": {"classes", "files", "data", "models", "metrics", "segmentation"},
    "review": {"classes", "files", "data"},
    "view": {"classes", "files", "data", "review"},
    "synthetic": {"classes", "files", "data"},
    "depth": {"classes", "files", "graph", "data", "models", "metrics", "training"},
    "benchmarks": {
        "classes",
        "files",
        "graph",
        "data",
        "models",
        "metrics",
        "training",
        "segmentation",
        "evaluation",
        "review",
    },
}
IMPORTED_WHERE_NEEDED = {
    "open3d", "torch_cluster", "plyfile", "laspy", "triton", "tensorboard", "matplotlib", "polars", "numba", "pye57",
    "trimesh", "PIL",
}  # fmt: skip


def _part(path):
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def _imports(path):
    """The full names of all modules (and of what is taken from them) that a file imports, wherever it does."""
    package = ["s3dis_seg", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, node.module] if node.module else above)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_part_imports_only_the_parts_before_it(path):
    part = _part(path)
    if part in ("cli", "__init__"):
        return
    names = {name.split(".")[1] for name in _imports(path) if name.startswith("s3dis_seg.")}
    assert names - {part} <= ALLOWED[part]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_printing_and_exiting_live_in_the_command_line(path):
    if _part(path) == "cli":
        return
    tree = ast.parse(path.read_text())
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"print", "exit", "input"}
    assert not {name.split(".")[0] for name in _imports(path)} & {"argparse", "tqdm"}


def test_training_and_the_graph_import_without_the_optional_packages():
    script = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {IMPORTED_WHERE_NEEDED!r}:
            raise ModuleNotFoundError(f'{{name}} was imported at start')
sys.meta_path.insert(0, Refuse())
import s3dis_seg, s3dis_seg.training, s3dis_seg.segmentation, s3dis_seg.data.blocks.datasets, s3dis_seg.data.scans
import s3dis_seg.data.rooms.sources, s3dis_seg.graph.knn, s3dis_seg.models.zoo, s3dis_seg.view, s3dis_seg.report
s3dis_seg.create_model("resgcn7")
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


@pytest.mark.parametrize("given, expected", [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_leave_the_cores_to_others_unless_told_otherwise(given, expected):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {} if given is None else {"OMP_WAIT_POLICY": given}
    script = "import os, sys, s3dis_seg; assert 'torch' not in sys.modules; print(os.environ['OMP_WAIT_POLICY'])"
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == expected


def test_every_tool_is_a_door_to_its_command():
    from s3dis_seg.cli.main import COMMANDS

    tools = {path.stem for path in (PACKAGE.parent / "tools").glob("*.py")}
    # Those for whoever changes a reader, and for measurements, are no commands.
    assert tools - {"fuzz", "fuzz_files", "fine_tuning", "large_scan"} == set(COMMANDS)


def test_public_names_resolve():
    import s3dis_seg

    for name in s3dis_seg.__all__:
        assert getattr(s3dis_seg, name) is not None
    with pytest.raises(AttributeError, match="offers"):
        _ = s3dis_seg.no_such_name
