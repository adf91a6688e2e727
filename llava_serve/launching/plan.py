"""Plan of a launch: its processes, their flags and their ports; nothing is started here."""

import errno
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llava_serve import args
from llava_serve.config import WorkerConfig
from llava_serve.engines.sglang.config import SglangWorkerConfig
from llava_serve.errors import CommandError
from llava_serve.http import serving
from llava_serve.launching import sglang_server
from llava_serve.launching.config import LaunchConfig
from llava_serve.launching.models import Model, Models, models_to_serve

_WORKER_HOST = "127.0.0.1"

# What launch itself gives to each worker; one value for all of them would break the stack.
_SET_BY_LAUNCH = frozenset(
    (
        *("--host", "--port", "--worker", "--worker-address", "--state-dir", "--no-register"),
        *("--controller", "--controller-address"),
        *("--model-path", "--model-base", "--model-name", "--cluster-token-file"),
        "--sgl-endpoint",
    )
)


@dataclass(frozen=True, slots=True)
class Process:
    """One process to keep alive.

    It is ready when `address`/health answers and, for a worker, the controller lists `model`. A
    worker of SGLang has to wait for the server at `depends_on`.
    """

    name: str
    command: tuple[str, ...]
    address: str
    model: str | None = None
    depends_on: str | None = None


@dataclass(frozen=True, slots=True)
class Port:
    """A port one of the processes will listen on, and the flag that moves it."""

    host: str
    number: int
    wanted_by: str
    flag: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All processes of a launch, and the ports they listen on."""

    controller: Process
    servers: tuple[Process, ...]  # of SGLang, which some of the workers ask
    workers: tuple[Process, ...]
    page: Process | None
    ports: tuple[Port, ...]

    @property
    def stages(self) -> tuple[tuple[Process, ...], ...]:
        """The first stage is ready before the others start; they end in reverse order."""
        return ((self.controller,), self.servers, self.workers, (self.page,) if self.page else ())


def make_plan(config: LaunchConfig, worker_flags: Sequence[str] = ()) -> Plan:
    """Lay out the processes; `worker_flags` go to every worker as they are.

    Raises:
        CommandError: a model is wrong, a flag for the workers or for SGLang is one that launch sets
            itself, or SGLang is asked for and not installed.
        SystemExit: a worker flag is unknown or has a bad value; the usage is printed.
    """
    models = models_to_serve(config.model, config.sglang)
    _check_worker_flags(worker_flags, models)
    controller = _controller(config)
    servers = _servers(config, models.sglang)
    workers = _workers(config, models, (controller.address, servers), worker_flags)
    ports = [Port(config.host, config.controller_port, "the controller", "--controller-port")]
    ports += [
        Port(_WORKER_HOST, config.worker_port + i, f"the worker of {worker.name}", "--worker-port")
        for i, worker in enumerate(workers)
    ]
    ports += [
        Port(sglang_server.HOST, config.sglang_port + i, server.name, "--sglang-port")
        for i, server in enumerate(servers)
    ]
    page = None if config.no_web else _page(config, controller.address)
    if page is not None:
        ports.append(Port(config.host, config.web_port, "the page", "--web-port"))
    return Plan(controller, servers, workers, page, tuple(ports))


def _check_worker_flags(flags: Sequence[str], models: Models) -> None:
    for flag in flags:
        if flag.partition("=")[0] in _SET_BY_LAUNCH:
            raise CommandError(
                f"{flag} cannot stand after --: launch gives each worker its own",
                "Use launch's own flags, such as --model PATH@BASE=NAME for an adapter; "
                "`python -m llava_serve.launch --help` lists them.",
            )
    if models.torch:
        args.parse(WorkerConfig, flags)
    if models.sglang:
        args.parse(SglangWorkerConfig, flags)


def _controller(config: LaunchConfig) -> Process:
    flags = [*_listen_flags(config), "--port", str(config.controller_port)]
    flags += ["--public-metrics"] if config.public_metrics else []
    return Process(
        "controller",
        _command("controller", *flags, *_state_flags(config)),
        _address(config.host, config.controller_port),
    )


def _listen_flags(config: LaunchConfig) -> tuple[str, ...]:
    names = ("--allowed-hosts", config.allowed_hosts) if config.allowed_hosts else ()
    return ("--host", config.host, *names)


def _page(config: LaunchConfig, controller: str) -> Process:
    flags = (*_listen_flags(config), "--port", str(config.web_port), "--controller", controller)
    return Process(
        "page",
        _command("gradio_web_server", *flags, *_state_flags(config)),
        _address(config.host, config.web_port),
    )


def _servers(config: LaunchConfig, models: Sequence[Model]) -> tuple[Process, ...]:
    """Return an SGLang server for each model, each with GPUs of its own."""
    if not models:
        return ()
    python = sglang_server.interpreter(config)
    on_gpu = sglang_server.runs_on_gpu(config, python)
    servers = []
    for i, (name, model) in enumerate(_with_unique_names(models)):
        port, first_gpu = config.sglang_port + i, i * config.tp * config.dp if on_gpu else None
        command = sglang_server.server_command(config, python, model, port, first_gpu)
        servers.append(
            Process(
                f"sglang:{name}",
                _command("launching.exec_child", *command),
                _address(sglang_server.HOST, port),
            )
        )
    return tuple(servers)


def _workers(
    config: LaunchConfig,
    models: Models,
    asks: tuple[str, Sequence[Process]],
    worker_flags: Sequence[str],
) -> tuple[Process, ...]:
    """Return a worker for each model; `asks`: the controller's address, the SGLang servers."""
    controller, servers = asks
    addresses = [*(None for _ in models.torch), *(server.address for server in servers)]
    named = _with_unique_names((*models.torch, *models.sglang))
    workers = []
    for port, ((name, model), server) in enumerate(
        zip(named, addresses, strict=True), start=config.worker_port
    ):
        flags = ("--host", _WORKER_HOST, "--port", str(port), "--controller", controller)
        given = (*flags, *_state_flags(config), *worker_flags)
        if server is None:
            own = (*_model_flags(model), "--device", config.device)
            command = _command("model_worker", *own, *given)
        else:
            own = ("--sgl-endpoint", server, "--model-name", model.name)
            command = _command("sglang_worker", *own, *given)
        workers.append(Process(name, command, _address(_WORKER_HOST, port), model.name, server))
    return tuple(workers)


def _with_unique_names(models: Sequence[Model]) -> Iterator[tuple[str, Model]]:
    """Yield each model with a process name; a second process of one model gets `#2`."""
    seen: Counter[str] = Counter()
    for model in models:
        seen[model.name] += 1
        copy = seen[model.name]
        yield (model.name if copy == 1 else f"{model.name}#{copy}"), model


def _model_flags(model: Model) -> tuple[str, ...]:
    base = ("--model-base", model.base) if model.base else ()
    return ("--model-path", model.path, *base, "--model-name", model.name)


def _state_flags(config: LaunchConfig) -> tuple[str, ...]:
    return ("--state-dir", str(config.state_dir), "--log-level", config.log_level)


def _command(module: str, *flags: str) -> tuple[str, ...]:
    wrapper = ("-m", "llava_serve.launching.die_with_parent")
    return (sys.executable, *wrapper, f"llava_serve.{module}", *flags)


def _address(host: str, port: int) -> str:
    """Return the address at which this machine reaches a listener; a wildcard is on loopback."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def check_ports(ports: Sequence[Port]) -> None:
    """Try each port once, without keeping it.

    Raises:
        CommandError: a port is used by another program, wanted twice, or not to be had.
    """
    wanted: dict[int, Port] = {}
    for port in ports:
        other = wanted.setdefault(port.number, port)
        if other is not port:
            raise CommandError(
                f"port {port.number} is wanted by {other.wanted_by} and by {port.wanted_by}",
                f"Choose another with {other.flag} or {port.flag}.",
            )
        _check_port(port)


def _check_port(port: Port) -> None:
    if not 0 < port.number < 65536:
        raise CommandError(
            f"there is no port {port.number}, which {port.wanted_by} would listen on",
            f"Choose one from 1 to 65535 with {port.flag}.",
        )
    try:
        with serving.bind(port.host, port.number):
            return
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise CommandError(
                f"port {port.number}, which {port.wanted_by} needs, is in use",
                f"Stop the program that uses it, or choose another port with {port.flag}.",
            ) from exc
        raise CommandError(
            f"{port.wanted_by} cannot listen on {port.host}:{port.number}: {exc.strerror or exc}",
            f"Choose another address with --host, or another port with {port.flag}.",
        ) from exc
