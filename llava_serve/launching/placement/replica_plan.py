"""Plan of a replica: what its actor takes of a machine, and what it starts there."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from llava_serve.launching.config import LaunchConfig
from llava_serve.launching.models import Model
from llava_serve.launching.placement.options import PlacedModel


@dataclass(frozen=True, slots=True)
class Needs:
    """What a replica takes, all of it on one machine."""

    gpus: float
    cpus: float

    @classmethod
    def of(cls, placed: PlacedModel, config: LaunchConfig, has_gpus: bool) -> "Needs":
        """Return those of each replica in a cluster that `has_gpus`, or has none."""
        options = placed.options
        wants_gpus = config.device == "cuda" or (config.device == "auto" and has_gpus)
        if placed.is_sglang:
            gpus = float((options.tp or config.tp) * config.dp * wants_gpus)
        else:
            gpus = float(wants_gpus) if options.gpus is None else options.gpus
        return cls(gpus, options.cpus)

    @property
    def resources(self) -> dict[str, float]:
        """The resources by Ray's names."""
        return {name: n for name, n in (("GPU", self.gpus), ("CPU", self.cpus)) if n}

    def __str__(self) -> str:
        return " and ".join(f"{n:g} {name}" for name, n in self.resources.items()) or "nothing"


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """What a replica needs to start its processes wherever it is.

    `config` has the flags of its model alone; `flags` go to the worker as they are. Its ports are
    `number` above the first ones. `controller` is the address that the machines reach it at.
    """

    name: str
    model: Model
    needs: Needs
    config: LaunchConfig
    flags: tuple[str, ...]
    controller: str
    token: str = field(repr=False)
    number: int


def config_of(placed: PlacedModel, config: LaunchConfig, needs: Needs) -> LaunchConfig:
    """Return the settings of a replica: nothing that only the controller or the page may know."""
    device = "cpu" if config.device == "auto" and not needs.gpus else config.device
    own = LaunchConfig(
        device=device,
        log_level=config.log_level,
        otlp_endpoint=config.otlp_endpoint,
        worker_port=config.worker_port,
        tls_cert=_absolute(config.tls_cert),
        tls_key=_absolute(config.tls_key),
        ca_file=_absolute(config.ca_file),
    )
    if not placed.is_sglang:
        return own
    return replace(
        own,
        sglang=(placed.model.path,),
        tp=placed.options.tp or config.tp,
        dp=config.dp,
        sglang_python=config.sglang_python,
        sglang_flags=config.sglang_flags,
        sglang_port=config.sglang_port,
    )


def found_elsewhere(model: Model) -> Model:
    """Return a model whose folders are named from the root; hub names stay as they are."""
    base = None if model.base is None else _from_root(model.base)
    return replace(model, path=_from_root(model.path), base=base)


def _from_root(path: str) -> str:
    return str(Path(path).absolute()) if Path(path).is_dir() else path


def _absolute(path: Path | None) -> Path | None:
    """The actor's working folder is another one."""
    return None if path is None else path.absolute()
