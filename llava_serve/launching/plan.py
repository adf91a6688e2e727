"""Which processes a launch consists of, with their flags and ports; nothing is started here."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from llava_serve import args
from llava_serve.config import LaunchConfig, WorkerConfig
from llava_serve.errors import CommandError
from llava_serve.launching.models import Model, models_to_serve

_WORKER_HOST = "127.0.0.1"

# What launch itself gives to each worker; one value for all of them would break the stack.
_OURS = frozenset(
    (
        *("--host", "--port", "--worker", "--worker-address", "--state-dir", "--no-register"),
        *("--controller", "--controller-address"),
        *("--model-path", "--model-base", "--model-name", "--cluster-token-file"),
    )
)


@dataclass(frozen=True, slots=True)
class Process:
    """One process to keep alive.

    It is ready when `address`/health answers and, for a worker, the controller lists `model`.
    """

    name: str
    command: tuple[str, ...]
    address: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Port:
    """A port one of the processes will listen on, and the flag that moves it."""

    host: str
    number: int
    wanted_by: str
    flag: str


@dataclass(frozen=True, slots=True)
class Plan:
    controller: Process
    workers: tuple[Process, ...]
    page: Process | None
    ports: tuple[Port, ...]

    @property
    def stages(self) -> tuple[tuple[Process, ...], ...]:
        """The first stage is ready before the others start; they end in reverse order."""
        return ((self.controller,), self.workers, (self.page,) if self.page else ())


def make_plan(config: LaunchConfig, worker_flags: Sequence[str] = ()) -> Plan:
    """Lay out the processes; `worker_flags` go to every worker as they are.

    Raises:
        CommandError: a model is wrong, or a worker flag is one that launch sets itself.
        SystemExit: a worker flag is unknown or has a bad value; the usage is printed.
    """
    _check_worker_flags(worker_flags)
    controller = _controller(config)
    workers = _workers(config, controller.address, worker_flags)
    ports = [Port(config.host, config.controller_port, "the controller", "--controller-port")]
    ports += [
        Port(_WORKER_HOST, config.worker_port + i, f"the worker of {worker.name}", "--worker-port")
        for i, worker in enumerate(workers)
    ]
    if config.no_web:
        return Plan(controller, workers, None, tuple(ports))
    ports.append(Port(config.host, config.web_port, "the page", "--web-port"))
    return Plan(controller, workers, _page(config, controller.address), tuple(ports))


def _check_worker_flags(flags: Sequence[str]) -> None:
    for flag in flags:
        if flag.partition("=")[0] in _OURS:
            raise CommandError(
                f"{flag} cannot stand after --: launch gives each worker its own",
                "Use launch's own flags; `python -m llava_serve.launch --help` lists them.",
            )
    args.parse(WorkerConfig, flags)


def _controller(config: LaunchConfig) -> Process:
    flags = ("--host", config.host, "--port", str(config.controller_port))
    return Process(
        "controller",
        _command("controller", *flags, *_shared(config)),
        _address(config.host, config.controller_port),
    )


def _page(config: LaunchConfig, controller: str) -> Process:
    flags = ("--host", config.host, "--port", str(config.web_port), "--controller", controller)
    return Process(
        "page",
        _command("gradio_web_server", *flags, *_shared(config)),
        _address(config.host, config.web_port),
    )


def _workers(
    config: LaunchConfig, controller: str, worker_flags: Sequence[str]
) -> tuple[Process, ...]:
    models = models_to_serve(config.model)
    seen: Counter[str] = Counter()
    workers = []
    for port, model in enumerate(models, start=config.worker_port):
        seen[model.name] += 1
        copy = seen[model.name]
        flags = ("--host", _WORKER_HOST, "--port", str(port), "--controller", controller)
        given = (*flags, *_model_flags(model), "--device", config.device, *_shared(config))
        workers.append(
            Process(
                model.name if copy == 1 else f"{model.name}#{copy}",
                _command("model_worker", *given, *worker_flags),
                _address(_WORKER_HOST, port),
                model.name,
            )
        )
    return tuple(workers)


def _model_flags(model: Model) -> tuple[str, ...]:
    base = ("--model-base", model.base) if model.base else ()
    return ("--model-path", model.path, *base, "--model-name", model.name)


def _shared(config: LaunchConfig) -> tuple[str, ...]:
    return ("--state-dir", str(config.state_dir), "--log-level", config.log_level)


def _command(module: str, *flags: str) -> tuple[str, ...]:
    lifeline = ("-m", "llava_serve.launching.lifeline")
    return (sys.executable, *lifeline, f"llava_serve.{module}", *flags)


def _address(host: str, port: int) -> str:
    """The address this machine reaches a listener at; a wildcard is reached on loopback."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"
