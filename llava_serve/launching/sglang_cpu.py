"""A real SGLang server without a GPU; SGLang's own interpreter runs this file by its path.

Takes the flags of `sglang.launch_server`. Two native pieces of SGLang 0.5.23 are published as CUDA
builds only. Neither does any work here, so they are made absent: torchvision without its compiled
operators, `sgl_kernel` as a module whose functions refuse. And its processes begin as copies of the
first. All else is SGLang as installed, on the torch code it uses where no kernel fits.
"""

import multiprocessing
import os
import runpy
import sys
import types
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import Any, NoReturn

import torch

_OPERATORS = ("nms", "qnms")  # importing torchvision asks for their schemas
_DETECTIONS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class _AbsentKernels(types.ModuleType):
    """Importable, because SGLang imports names of it at start-up; every one of them raises."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def absent(*_: object, **__: object) -> NoReturn:
            raise NotImplementedError(f"sgl_kernel.{name} exists for CUDA only")

        return absent


def leave_out_native_pieces() -> None:
    """Prepare this process for importing sglang."""
    os.environ.setdefault("SGLANG_USE_CPU_ENGINE", "1")
    if not hasattr(torch.ops.torchvision, _OPERATORS[0]):
        library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        globals()["_library"] = library  # the schemas live as long as it does
        for name in _OPERATORS:
            library.define(name + _DETECTIONS)
    if find_spec("sgl_kernel") is None:
        kernels = _AbsentKernels("sgl_kernel")
        kernels.__spec__ = ModuleSpec("sgl_kernel", None)
        sys.modules["sgl_kernel"] = kernels


# At import: a process that is spawned all the same imports this file again before anything else.
leave_out_native_pieces()


def fork_processes() -> None:
    """Let SGLang's other processes begin as copies of this one.

    SGLang spawns them, as CUDA asks for: each would import for twelve seconds what is here already.
    """
    multiprocessing.set_start_method("fork")
    multiprocessing.set_start_method = lambda *_, **__: None


if __name__ == "__main__":
    fork_processes()
    # Without `alter_sys` this file stays the main module, which spawned processes import again.
    runpy.run_module("sglang.launch_server", run_name="__main__")
