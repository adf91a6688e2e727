"""Checks of what is installed; a PyTorch that is broken stands in for it in a process."""

import os
from pathlib import Path

from llava_serve.doctor import software


def with_module(folder: Path, name: str, source: str) -> dict[str, str]:
    """Return an environment in which Python finds a module of this source first."""
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def torch_that(
    folder: Path, *, available: bool, cuda: str | None, init: str = "pass"
) -> dict[str, str]:
    source = f"""
__version__ = "9.9"
class version:
    cuda, hip = {cuda!r}, None
class cuda:
    is_available = staticmethod(lambda: {available})
    device_count = staticmethod(lambda: 1)
    get_device_name = staticmethod(lambda i: "GPU 9000")
    @staticmethod
    def init():
        {init}
"""
    return with_module(folder, "torch", source)


def test_what_is_required_and_installed_is_ok() -> None:
    assert software.check_versions(["pydantic>=2", 'no-such >=1; extra == "dev"']).level == "ok"


def test_what_is_missing_or_too_old_is_named() -> None:
    found = software.check_versions(["no-such-package>=1", "pydantic>=99", "aiohttp"])
    assert found.level == "problem"
    assert "no-such-package is missing" in found.message
    assert "must be >=99" in found.message
    assert "aiohttp" not in found.message


def test_a_package_that_is_not_installed_is_a_warning() -> None:
    assert software.check_versions([]).level == "warning"


def test_a_gpu_that_is_used_is_ok(tmp_path: Path) -> None:
    environment = torch_that(tmp_path, available=True, cuda="12.8")
    found = software.check_torch(has_gpu=True, environment=environment)
    assert (found.level, "GPU 9000" in found.message) == ("ok", True)


def test_a_cpu_build_beside_a_gpu_is_a_warning(tmp_path: Path) -> None:
    environment = torch_that(tmp_path, available=False, cuda=None)
    assert software.check_torch(has_gpu=True, environment=environment).level == "warning"
    assert software.check_torch(has_gpu=False, environment=environment).level == "ok"


def test_a_driver_that_is_too_old_is_a_problem_with_its_reason(tmp_path: Path) -> None:
    too_old = 'raise RuntimeError("The NVIDIA driver on your system is too old")'
    environment = torch_that(tmp_path, available=False, cuda="13.0", init=too_old)
    found = software.check_torch(has_gpu=True, environment=environment)
    assert (found.level, "too old" in found.message) == ("problem", True)


def test_a_torch_that_cannot_be_imported_is_a_problem(tmp_path: Path) -> None:
    environment = with_module(tmp_path, "torch", 'raise ImportError("libcudart.so.12")')
    found = software.check_torch(has_gpu=False, environment=environment)
    assert (found.level, "libcudart" in found.message) == ("problem", True)


def test_a_torchvision_for_another_torch_is_a_problem(tmp_path: Path) -> None:
    source = 'raise RuntimeError("operator torchvision::nms does not exist")'
    found = software.check_torchvision(with_module(tmp_path, "torchvision", source))
    assert (found.level, "uninstall torchvision" in found.remedy) == ("problem", True)


def test_a_torchvision_that_imports_is_ok(tmp_path: Path) -> None:
    assert software.check_torchvision(with_module(tmp_path, "torchvision", "")).level == "ok"
