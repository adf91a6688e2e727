"""Checks of what is installed: versions, PyTorch and its CUDA, a torchvision that breaks imports.

PyTorch is imported in a process of its own: where it is broken, that may end the process.
"""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from packaging.requirements import Requirement

from llava_serve import __version__
from llava_serve.doctor.finding import Finding

_IMPORT_S = 120.0
_TORCH = """
import json, sys, warnings
warnings.simplefilter("ignore")
import torch
device_ok, reason = torch.cuda.is_available(), ""
if not device_ok and torch.version.cuda:
    try:
        torch.cuda.init()
    except Exception as exc:
        reason = str(exc).splitlines()[0]
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if device_ok else []
json.dump({"version": torch.__version__, "cuda": torch.version.cuda or torch.version.hip,
           "devices": names, "reason": reason}, sys.stdout)
"""  # noqa: E501


def installed_requirements() -> list[str]:
    """Return what this package requires; nothing where it is not installed."""
    try:
        return requires("llava_serve") or []
    except PackageNotFoundError:
        return []


def check_versions(requirements: Iterable[str]) -> Finding:
    """Compare what is installed with what is required; extras are nobody's duty."""
    parsed = [Requirement(each) for each in requirements]
    needed = [one for one in parsed if one.marker is None or one.marker.evaluate({"extra": ""})]
    if not needed:
        return Finding(
            "versions",
            "warning",
            "llava_serve is not installed here, so nothing says what it requires",
            "Run `make install`.",
        )
    if wrong := [shown for one in needed if (shown := _mismatch(one))]:
        return Finding("versions", "problem", "; ".join(wrong), "Run `make install`.")
    python = platform.python_version()
    return Finding(
        "versions", "ok", f"llava_serve {__version__}, Python {python}, {len(needed)} requirements"
    )


def _mismatch(requirement: Requirement) -> str:
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(installed, prereleases=True):
        return ""
    return f"{requirement.name} is {installed} and must be {requirement.specifier}"


def has_nvidia_gpu() -> bool:
    """Tell whether the driver's own program is here."""
    return shutil.which("nvidia-smi") is not None


def check_torch(*, has_gpu: bool, environment: Mapping[str, str] | None = None) -> Finding:
    """Import PyTorch and ask it for its devices."""
    done = _run(_TORCH, environment)
    if done.returncode != 0:
        return Finding(
            "torch",
            "problem",
            f"PyTorch cannot be imported: {_last_line(done.stderr)}",
            "Install it again: `python -m pip install --force-reinstall torch`.",
        )
    said: dict[str, Any] = json.loads(done.stdout)
    name = f"PyTorch {said['version']}"
    if said["devices"]:
        devices = ", ".join(said["devices"])
        return Finding("torch", "ok", f"{name} for CUDA {said['cuda']}, on {devices}")
    if not has_gpu:
        return Finding("torch", "ok", f"{name}, on the CPU: there is no NVIDIA GPU here")
    if said["cuda"] is None:
        return Finding(
            "torch",
            "warning",
            f"there is an NVIDIA GPU, and {name} was built for CPUs only",
            "Install PyPI's torch: `python -m pip install --force-reinstall torch`.",
        )
    return Finding(
        "torch",
        "problem",
        f"{name} for CUDA {said['cuda']} finds no GPU: {said['reason'] or 'it gives no reason'}",
        "Compare with the driver's version, which `nvidia-smi` shows, and look at "
        "CUDA_VISIBLE_DEVICES.",
    )


def check_torchvision(environment: Mapping[str, str] | None = None) -> Finding:
    """Look for a torchvision of another PyTorch: every model's import would break on it."""
    program = "import importlib.util as u\nif u.find_spec('torchvision'): import torchvision"
    done = _run(program, environment)
    if done.returncode == 0:
        return Finding("torchvision", "ok", "none, or one that fits; none is needed")
    return Finding(
        "torchvision",
        "problem",
        f"the installed torchvision breaks every import of a model: {_last_line(done.stderr)}",
        "None is needed: run `pip uninstall torchvision`.",
    )


def _run(program: str, environment: Mapping[str, str] | None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", program]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=_IMPORT_S, check=False
        )
    except subprocess.TimeoutExpired:
        reason = f"no end within {_IMPORT_S:g} s"
        return subprocess.CompletedProcess(command, 1, stdout="", stderr=reason)


def _last_line(text: str) -> str:
    return (text.strip() or "it ended without a word").splitlines()[-1]
