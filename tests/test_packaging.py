"""What is installed: every import is declared, every requirement pinned on each Python."""

import ast
import configparser
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PYTHONS = ["3.11", "3.13"]
OURS = {"llava_serve", "scripts", "tests"}


def _lines(path: Path) -> list[Requirement]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def _required(*extras: str) -> list[Requirement]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    texts = [setup["options"]["install_requires"]]
    texts += [setup["options.extras_require"][extra] for extra in extras]
    lines = "\n".join(texts).splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def _imported(folder: str) -> set[str]:
    """The top-level modules that a folder imports from elsewhere."""
    names = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - OURS


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("llava_serve", ["oidc", "otel", "ray", "lmms-eval"]),
        ("scripts/tiny", ["train"]),
        ("scripts", ["dev"]),
    ],
)
def test_what_is_imported_is_required(folder: str, extras: list[str]) -> None:
    distributions = packages_distributions()
    required = {canonicalize_name(one.name) for one in _required(*extras)}
    undeclared = {
        name
        for name in _imported(folder)
        if required.isdisjoint(map(canonicalize_name, distributions.get(name, [name])))
    }
    assert undeclared == set()


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_has_one_pin_that_satisfies_it(python: str) -> None:
    pins: dict[str, str] = {}
    for pin in _lines(ROOT / "scripts" / "constraints.txt"):
        if pin.marker is None or pin.marker.evaluate({"python_version": python}):
            (only,) = pin.specifier
            assert pins.setdefault(canonicalize_name(pin.name), only.version) == only.version, pin
    for one in _required("dev"):
        assert one.specifier.contains(pins[canonicalize_name(one.name)]), one


def _would_run(*words: str) -> str:
    return subprocess.run(
        ["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def test_flags_for_the_demo_reach_the_launch() -> None:
    assert "-m llava_serve.launch --web-port 7861" in _would_run("demo", "FLAGS=--web-port 7861")


@pytest.mark.parametrize(
    "marks", [(), ("slow",), ("slow", "alone"), ("slow", "ray"), ("slow", "sglang")]
)
def test_every_test_runs_once_in_all(marks: tuple[str, ...]) -> None:
    is_marked = {mark: mark in marks for mark in ("slow", "alone", "ray", "sglang", "clients")}
    selections = re.findall(r'pytest -m (?:"([^"]+)"|(\w+))', _would_run("test"))
    assert sum(eval(quoted or word, is_marked) for quoted, word in selections) == 1


@pytest.mark.parametrize("mark", ["alone", "ray", "sglang"])
def test_tests_of_a_mark_lie_where_their_target_looks_for_them(mark: str) -> None:
    (folder,) = re.findall(rf"pytest -m {mark} (\S+)", _would_run("test"))
    for path in (ROOT / "tests").rglob("test_*.py"):
        if f"pytest.mark.{mark}" in path.read_text(encoding="utf-8"):
            assert path.is_relative_to(ROOT / folder), path


def test_clients_of_other_people_have_a_target_of_their_own() -> None:
    assert "pytest -m clients tests/clients" in _would_run("test-clients")
    assert "clients_env" not in _would_run("test")


def test_clean_leaves_the_training_alone() -> None:
    words = _would_run("clean").split()
    assert ".venv" in words
    assert ".runs" not in words
