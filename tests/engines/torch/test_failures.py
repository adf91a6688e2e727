import pytest
import torch

from llava_serve.engines.torch import failures
from llava_serve.errors import ContextOverflow, EngineFailure, OutOfMemory

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("error", "needs"),
    [
        (
            torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of ..."
            ),
            "2.50 GiB more memory",
        ),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate "
                "memory: you tried to allocate 4000 bytes. Error code 12 (Cannot allocate memory)"
            ),
            "4000 bytes more memory",
        ),
        (MemoryError(), "more memory than there is"),
    ],
    ids=["cuda", "cpu", "python"],
)
def test_out_of_memory_says_how_much_was_needed(error: Exception, needs: str) -> None:
    told = failures.translate(error, CPU)
    assert isinstance(told, OutOfMemory)
    assert told.message == f"the request needs {needs}, and the device cpu has too little left"


@pytest.mark.parametrize(
    ("error", "is_sticky"),
    [
        (RuntimeError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("CUDA error: out of memory"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("CUDA error"), False),
    ],
    ids=["assert", "memory", "shapes", "no error of torch"],
)
def test_only_a_lost_device_is_sticky(error: Exception, is_sticky: bool) -> None:
    assert failures.is_sticky(error) is is_sticky


def test_what_the_caller_did_reaches_the_caller_unchanged() -> None:
    error = ContextOverflow(5, 6, 7)
    assert failures.translate(error, CPU) is error


def test_a_bug_reaches_the_log_and_not_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    told = failures.translate(IndexError("secret"), CPU)
    assert type(told) is EngineFailure
    assert "secret" not in told.message
    assert "secret" in caplog.text
