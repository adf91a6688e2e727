"""What stands between clients and workers in the bench: our controller, and others' proxies."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scripts.bench_systems import free_port, started

BARE = "paced"
_LITELLM = Path(".venv-litellm/bin/litellm")
_ROUTER = Path(".venv-sglang-router/bin/python")


@dataclass(frozen=True, slots=True)
class Way:
    """A way to ask a worker: where, and with which headers."""

    name: str
    address: str
    headers: Mapping[str, str] = field(default_factory=dict)
    pid: int = 0
    model: str = "echo"


def make_key(state: Path) -> str:
    """Make an API key with limits that are counted and never reached; return its text."""
    command = [sys.executable, "-m", "llava_serve.keys", "create", "--name", "bench"]
    command += ["--requests-per-minute", "10000000", "--tokens-per-minute", "1000000000"]
    command += ["--max-parallel", "100000", "--monthly-tokens", "1000000000000"]
    made = subprocess.run(
        [*command, "--state-dir", str(state)], capture_output=True, text=True, check=True
    )
    return next(word for word in made.stdout.split() if word.startswith("sk-"))


@contextmanager
def our_controller(
    name: str, state: Path, *flags: str, checkout: Path | None = None
) -> Iterator[Way]:
    """Start a controller, of another checkout where one is given."""
    port, folder = free_port(), checkout or Path.cwd()
    # `-m` looks into the current folder before PYTHONPATH.
    command = ["env", f"--chdir={folder}", f"PYTHONPATH={folder}", sys.executable]
    command += ["-m", "llava_serve.controller", "--log-level", "warning"]
    with started([*command, "--state-dir", str(state), "--port", str(port), *flags], port) as pid:
        yield Way(name, f"http://127.0.0.1:{port}", {}, pid)


@contextmanager
def litellm(worker: str, folder: Path) -> Iterator[Way]:
    """Start LiteLLM's proxy before a worker of the model `echo`, with a key of its own."""
    port = free_port()
    model = {"model": "openai/echo", "api_base": f"{worker}/v1", "api_key": "none"}
    settings = {
        "model_list": [{"model_name": "echo", "litellm_params": model}],
        "general_settings": {"master_key": "sk-bench"},
    }
    config = folder / "litellm.yaml"
    config.write_text(json.dumps(settings))  # JSON is YAML
    command = [str(_LITELLM), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    with started(["env", "LITELLM_LOG=ERROR", *command], port) as pid:
        yield Way("LiteLLM", f"http://127.0.0.1:{port}", {"Authorization": "Bearer sk-bench"}, pid)


@contextmanager
def sglang_router(workers: Sequence[str], model: str, policy: str = "round_robin") -> Iterator[Way]:
    """Start sglang-router before workers of a model."""
    port, metrics = free_port(), free_port()
    command = [str(_ROUTER), "-m", "sglang_router.launch_router", "--worker-urls", *workers]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    command += ["--prometheus-port", str(metrics), "--policy", policy]
    with started(command, port) as pid:
        yield Way(f"sglang-router {policy}", f"http://127.0.0.1:{port}", {}, pid, model)


def installed() -> list[str]:
    """Return which of the others are there."""
    return [name for name, path in (("litellm", _LITELLM), ("router", _ROUTER)) if path.exists()]


def resident_bytes(pid: int) -> int:
    """Return the memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
