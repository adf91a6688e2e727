"""Plan of a launch: its processes, their flags and their ports; nothing is started here."""

import errno
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from llava_serve import args
from llava_serve.config import WorkerConfig
from llava_serve.engines.sglang.config import SglangWorkerConfig
from llava_serve.errors import CommandError
from llava_serve.http import serving
from llava_serve.http.hosts import address_here
from llava_serve.keeping_config import KeepingConfig
from llava_serve.key_config import AccountingConfig
from llava_serve.launching import sglang_server
from llava_serve.launching.config import LaunchConfig
from llava_serve.launching.models import Model, Models, models_to_serve
from llava_serve.launching.placement.options import PlacedModel, placed_models, refuse_options
from llava_serve.page_config import PageConfig
from llava_serve.registry_config import RegistryConfig
from llava_serve.tls_config import TlsConfig

_WORKER_HOST = "127.0.0.1"

# What launch itself gives to each worker; one value for all of them would break the stack.
_SET_BY_LAUNCH = (
    *("--host", "--port", "--worker", "--worker-address", "--state-dir", "--no-register"),
    *("--controller", "--controller-address", "--cluster-token-file", "--sgl-endpoint"),
    *("--model-path", "--model-base", "--model-name"),
    *("--tls-cert", "--tls-key", "--ca-file"),
)


@dataclass(frozen=True, slots=True)
class Port:
    """A port that a process listens on, and the flag that moves it."""

    host: str
    number: int
    wanted_by: str
    flag: str
    scheme: str = "http"

    @property
    def address(self) -> str:
        """The address at which this machine reaches it; a wildcard is on loopback."""
        return address_here(self.host, self.number, self.scheme)


@dataclass(frozen=True, slots=True)
class Process:
    """One process to keep alive.

    It is ready when /health answers at its port and, for a worker, the controller lists `model`. A
    worker of SGLang has to wait for the server at `depends_on`.
    """

    name: str
    command: tuple[str, ...]
    port: Port
    model: str | None = None
    depends_on: str | None = None

    @property
    def address(self) -> str:
        """The address of its port."""
        return self.port.address


@dataclass(frozen=True, slots=True)
class Plan:
    """All processes of a launch."""

    controller: Process
    servers: tuple[Process, ...]  # of SGLang, which some of the workers ask
    workers: tuple[Process, ...]
    page: Process | None
    placed: tuple[PlacedModel, ...] = ()  # by Ray, instead of servers and workers
    worker_flags: tuple[str, ...] = ()  # those of every worker

    @property
    def model(self) -> str:
        """The name of the first model."""
        return self.placed[0].model.name if self.placed else str(self.workers[0].model)

    @property
    def stages(self) -> tuple[tuple[Process, ...], ...]:
        """The first stage is ready before the others start; they end in reverse order."""
        return ((self.controller,), self.servers, self.workers, (self.page,) if self.page else ())

    @property
    def ports(self) -> list[Port]:
        """The ports of all processes."""
        return [process.port for stage in self.stages for process in stage]


def make_plan(config: LaunchConfig, worker_flags: Sequence[str] = ()) -> Plan:
    """Lay out the processes; `worker_flags` go to every worker as they are.

    Raises:
        CommandError: a model is wrong, a flag for the workers or for SGLang is one that launch sets
            itself, or SGLang is asked for and not installed.
        SystemExit: a worker flag is unknown or has a bad value; the usage is printed.
    """
    placed = placed_models(config) if config.ray else ()
    if placed:
        models = Models(
            tuple(one.model for one in placed if not one.is_sglang),
            tuple(one.model for one in placed if one.is_sglang),
        )
    else:
        refuse_options((*config.model, *config.sglang))
        models = models_to_serve(config.model, config.sglang)
    _check_worker_flags(worker_flags, models)
    port = _port(config, config.controller_port, "the controller", "--controller-port")
    metrics = ["--public-metrics"] if config.public_metrics else []
    kinds = (RegistryConfig, AccountingConfig, KeepingConfig)
    shared = [flag for kind in kinds for flag in _given(config, kind)]
    origins = args.addresses_of(config.cors_origin)
    pages = ("--cors-origin", *origins) if origins else ()
    controller = _public(config, "controller", "controller", port, *metrics, *pages, *shared)
    given = ("--controller", controller.address, *config.controller)
    asking = ["--require-keys"] if config.require_keys else []
    flags = (*asking, *worker_flags)
    local = Models((), ()) if placed else models
    servers = _servers(config, local.sglang)
    workers = _workers(config, local, servers, (*given, *flags))
    port = _port(config, config.web_port, "the page", "--web-port")
    own = _given(config, PageConfig)
    page = _public(config, "page", "gradio_web_server", port, *given, *own)
    return Plan(controller, servers, workers, None if config.no_web else page, placed, flags)


def replica_stages(
    config: LaunchConfig, model: Model, host: str, flags: Sequence[str]
) -> tuple[tuple[Process, ...], ...]:
    """Return the processes of one replica that listens at `host`: a server, if any, and a worker.

    Raises:
        CommandError: SGLang is not installed here.
    """
    is_sglang = bool(config.sglang)
    models = Models((), (model,)) if is_sglang else Models((model,), ())
    servers = _servers(config, models.sglang)
    workers = _workers(config, models, servers, flags, host)
    return (servers, workers) if servers else (workers,)


def _port(config: LaunchConfig, number: int, wanted_by: str, flag: str) -> Port:
    return Port(config.host, number, wanted_by, flag, config.scheme)


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


def _public(config: LaunchConfig, name: str, module: str, port: Port, *flags: str) -> Process:
    """Return the controller or the page: other machines may reach it, under `--allowed-hosts`."""
    names = ("--allowed-hosts", config.allowed_hosts) if config.allowed_hosts else ()
    return Process(name, _command(config, module, port, *names, *flags), port)


def _servers(config: LaunchConfig, models: Sequence[Model]) -> tuple[Process, ...]:
    """Return an SGLang server for each model, each with GPUs of its own."""
    if not models:
        return ()
    python = sglang_server.interpreter(config)
    on_gpu = sglang_server.runs_on_gpu(config, python)
    servers = []
    for i, (served, model) in enumerate(_with_unique_names(models)):
        name = f"sglang:{served}"
        port = Port(sglang_server.HOST, config.sglang_port + i, name, "--sglang-port")
        first_gpu = i * config.tp * config.dp if on_gpu else None
        command = sglang_server.server_command(config, python, model, port.number, first_gpu)
        servers.append(Process(name, (*_python("launching.exec_child"), *command), port))
    return tuple(servers)


def _workers(
    config: LaunchConfig,
    models: Models,
    servers: Sequence[Process],
    flags: Sequence[str],
    host: str = _WORKER_HOST,
) -> tuple[Process, ...]:
    """Return a worker for each model; those of SGLang ask `servers`."""
    addresses = [*(None for _ in models.torch), *(server.address for server in servers)]
    named = _with_unique_names((*models.torch, *models.sglang))
    workers = []
    for i, ((name, model), server) in enumerate(zip(named, addresses, strict=True)):
        wanted_by, number = f"the worker of {name}", config.worker_port + i
        port = Port(host, number, wanted_by, "--worker-port", config.scheme)
        if server is None:
            module, own = "model_worker", ["--model-path", model.path, "--device", config.device]
            own += ["--model-base", model.base] if model.base else []
        else:
            module, own = "sglang_worker", ["--sgl-endpoint", server]
        command = _command(config, module, port, "--model-name", model.name, *own, *flags)
        workers.append(Process(name, command, port, model.name, server))
    return tuple(workers)


def _with_unique_names(models: Sequence[Model]) -> Iterator[tuple[str, Model]]:
    """Yield each model with a process name; a second process of one model gets `#2`."""
    seen: Counter[str] = Counter()
    for model in models:
        seen[model.name] += 1
        copy = seen[model.name]
        yield (model.name if copy == 1 else f"{model.name}#{copy}"), model


def _command(config: LaunchConfig, module: str, port: Port, *flags: str) -> tuple[str, ...]:
    listen = ("--host", port.host, "--port", str(port.number))
    state = ("--state-dir", str(config.state_dir), "--log-level", config.log_level)
    traces = ("--otlp-endpoint", config.otlp_endpoint) if config.otlp_endpoint else ()
    return (*_python(module), *listen, *state, *traces, *_given(config, TlsConfig), *flags)


def _given(
    config: LaunchConfig,
    kind: type[TlsConfig | PageConfig | AccountingConfig | KeepingConfig | RegistryConfig],
) -> Iterator[str]:
    """Yield the flags of a kind of settings that are not as they are by default."""
    for field in fields(kind):
        if (value := getattr(config, field.name)) != field.default:
            yield args.flag_of(field.name)
            if value is not True:
                yield from map(str, value if isinstance(value, tuple) else [value])


def _python(module: str) -> tuple[str, ...]:
    wrapper = "llava_serve.launching.die_with_parent"
    return (sys.executable, "-m", wrapper, f"llava_serve.{module}")


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
