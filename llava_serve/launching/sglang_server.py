"""SGLang server's command line on this machine: its interpreter and its flags."""

import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from llava_serve.errors import CommandError
from llava_serve.launching.config import LaunchConfig
from llava_serve.launching.models import Model

HOST = "127.0.0.1"  # it has no accounts, and reads files and addresses that a request names

_CPU_SERVER = Path(__file__).with_name("sglang_cpu.py")
# By itself the cache would take a part of the whole memory, and an idle scheduler a whole core.
_CPU_FLAGS = (
    *("--device", "cpu", "--attention-backend", "torch_native", "--sleep-on-idle"),
    *("--max-total-tokens", "32768", "--max-running-requests", "16"),
)
# What launch itself says to each server.
_SET_BY_LAUNCH = frozenset(
    (
        *("--host", "--port", "--model-path", "--model", "--served-model-name"),
        *("--tp-size", "--tp", "--tensor-parallel-size"),
        *("--dp-size", "--dp", "--data-parallel-size"),
        *("--device", "--base-gpu-id"),
    )
)
_HAS_GPU = "import sys, torch; sys.exit(not torch.cuda.is_available())"
_HAS_SGLANG = "import sys, importlib.util as u; sys.exit(u.find_spec('sglang') is None)"
_REMEDY = (
    "SGLang pins versions that do not go together with ours, so it has an environment of its own: "
    "name its interpreter with --sglang-python. The README says how to make one."
)


def interpreter(config: LaunchConfig) -> str:
    """Return the Python that runs SGLang: the one of the flag, or else this one.

    Raises:
        CommandError: SGLang is not installed there.
    """
    if config.sglang_python is None:
        if find_spec("sglang") is None:
            raise CommandError(f"--sglang: {sys.executable} has no sglang", _REMEDY)
        return sys.executable
    python = shutil.which(config.sglang_python)
    if python is None:
        raise CommandError(f"--sglang-python: cannot run {config.sglang_python}", _REMEDY)
    # An absolute path, and no link followed: that would leave a virtual environment.
    python = str(Path(python).absolute())
    if not _succeeds(python, _HAS_SGLANG):
        raise CommandError(f"--sglang-python: {python} has no sglang", _REMEDY)
    return python


def runs_on_gpu(config: LaunchConfig, python: str) -> bool:
    """Return what `--device` says, or else whether SGLang's own PyTorch finds a GPU."""
    return config.device == "cuda" or (config.device == "auto" and _succeeds(python, _HAS_GPU))


def server_command(
    config: LaunchConfig, python: str, model: Model, port: int, first_gpu: int | None
) -> tuple[str, ...]:
    """Return the command of `model`'s server, whose GPUs count up from `first_gpu`.

    None: without a GPU. The operator's own flags stand last, so that they win.

    Raises:
        CommandError: one of them is a flag that launch sets itself.
    """
    flags = shlex.split(config.sglang_flags)
    for flag in flags:
        if flag.partition("=")[0] in _SET_BY_LAUNCH:
            raise CommandError(
                f"--sglang-flags: {flag} is one that launch itself gives to each SGLang server",
                "Use launch's own flags; `python -m llava_serve.launch --help` lists them.",
            )
    program: tuple[str, ...]
    if first_gpu is None:
        program = (python, "-P", str(_CPU_SERVER), *_CPU_FLAGS)
    else:
        program = (python, "-m", "sglang.launch_server", "--base-gpu-id", str(first_gpu))
    return (
        # Without it, logprobs of sampled tokens are those after temperature.
        *("env", "SGLANG_RETURN_ORIGINAL_LOGPROB=1", *program),
        *("--host", HOST, "--port", str(port)),
        *("--model-path", model.path, "--served-model-name", model.name),
        *("--tp-size", str(config.tp), "--dp-size", str(config.dp)),
        *flags,
    )


def _succeeds(python: str, program: str) -> bool:
    done = subprocess.run(
        [python, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return done.returncode == 0
