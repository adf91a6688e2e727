"""What must start quickly imports no model code, and imports point one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import llava_serve

PACKAGE = Path(llava_serve.__file__).parent
COMMANDS = [
    "controller",
    "model_worker",
    "sglang_worker",
    "gradio_web_server",
    "cli",
    "launch",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_starts_without_torch_and_transformers(command: str) -> None:
    program = (
        f"import sys, llava_serve.{command}; "
        "heavy = {'torch', 'transformers', 'tensorflow', 'sglang'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def imported_modules(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {node.module for node in imports if node.module}


def test_nothing_imports_a_command() -> None:
    commands = {f"llava_serve.{command}" for command in COMMANDS}
    guilty = [path.name for path in PACKAGE.rglob("*.py") if imported_modules(path) & commands]
    assert guilty == []


def test_the_paths_of_the_bundled_checkpoint_import_nothing_of_ours() -> None:
    """`config.py` names them as defaults, so nothing may lie below them."""
    (only,) = (PACKAGE / "tiny").rglob("*.py")
    assert not any(name.startswith("llava_serve") for name in imported_modules(only))


def test_what_travels_imports_no_process() -> None:
    """`protocol/` is the ground everything stands on: it knows errors and nothing else."""
    allowed = ("llava_serve.errors", "llava_serve.protocol")
    for path in (PACKAGE / "protocol").glob("*.py"):
        ours = {name for name in imported_modules(path) if name.startswith("llava_serve")}
        assert all(name.startswith(allowed) for name in ours), path
