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
    "judge",
    "admin",
    "replay",
    "evaluate",
    "train",
    "keys",
    "page_users",
    "usage",
]


@pytest.mark.parametrize("command", [*COMMANDS, "doctor.__main__"])
def test_a_command_starts_without_torch_and_transformers(command: str) -> None:
    program = (
        f"import sys, llava_serve.{command}; "
        "heavy = {'torch', 'transformers', 'tensorflow', 'sglang', 'ray'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


# Folders and modules of the package from the ground to the top; each imports lower ones only.
LAYERS = (
    ("errors", "registry_config", "retry", "tools"),
    (
        *(
            "api_key",
            "arena",
            "args",
            "form_fault",
            "key_config",
            "limited_process",
            "local_path",
            "logs",
            "quota",
        ),
        *("renewed_files", "request", "secret_file", "text_table", "tiny", "tls_config", "tracing"),
    ),
    ("keeping_config", "login_config", "model_config"),
    ("page_config",),
    ("background", "cluster_token", "config", "protocol"),
    ("credential", "http", "server_config"),
    ("chat", "client", "media"),
    ("asked_server", "controllers"),
    ("adapters", "checkpoints"),
    ("engines", "logins", "storage"),
    ("accounts",),
    ("cluster",),
    ("worker",),
    ("terminal",),
    ("doctor", "evaluation", "judging", "launching", "replaying", "training", "web"),
    tuple(COMMANDS),
)
LAYER = {name: layer for layer, names in enumerate(LAYERS) for name in names}


def imported_modules(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_nothing_imports_a_command() -> None:
    commands = {f"llava_serve.{command}" for command in COMMANDS}
    guilty = [path.name for path in PACKAGE.rglob("*.py") if imported_modules(path) & commands]
    assert guilty == []


def test_the_paths_of_the_bundled_checkpoint_import_nothing_of_ours() -> None:
    """`config.py` names them as defaults, so nothing may lie below them."""
    (only,) = (PACKAGE / "tiny").rglob("*.py")
    assert not any(name.startswith("llava_serve") for name in imported_modules(only))


def imports_against_the_layers() -> set[tuple[str, str]]:
    """Return (importer, imported) for each import that does not go to a lower layer."""
    wrong = set()
    for path in PACKAGE.rglob("*.py"):
        importer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for module in imported_modules(path):
            imported = module.removeprefix("llava_serve.").split(".")[0]
            is_ours = module.startswith("llava_serve.") and imported in LAYER
            if is_ours and imported != importer and LAYER[imported] >= LAYER[importer]:
                wrong.add((importer, imported))
    return wrong


def test_every_folder_and_module_has_a_layer() -> None:
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert modules | {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(LAYER)


def test_imports_point_to_lower_layers() -> None:
    assert imports_against_the_layers() == set()


def test_what_travels_imports_no_process() -> None:
    """`protocol/` knows errors and what a request is, and nothing else."""
    allowed = (
        "llava_serve.errors",
        "llava_serve.protocol",
        "llava_serve.request",
        "llava_serve.tools",
    )
    for path in (PACKAGE / "protocol").glob("*.py"):
        ours = {name for name in imported_modules(path) if name.startswith("llava_serve")}
        assert all(name.startswith(allowed) for name in ours), path
