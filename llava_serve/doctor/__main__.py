"""The command `python -m llava_serve.doctor`: a line for each check; exit code 1 on a problem."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import aiohttp

from llava_serve import args, logs
from llava_serve.cluster_token import bearer, read_token, token_file
from llava_serve.config import STATE
from llava_serve.doctor import address, cluster, machine, model, software
from llava_serve.doctor.finding import Finding
from llava_serve.errors import CommandError
from llava_serve.http.hosts import is_loopback
from llava_serve.http.tls import trust
from llava_serve.logs import replace_unprintable
from llava_serve.tls_config import TrustConfig

_PORTS = (10000, 40000, 7860)  # of controller, worker and page, where no flag says otherwise


@dataclass(frozen=True, kw_only=True)
class DoctorConfig(TrustConfig):
    """Check what people get wrong, and say what to do."""

    controller: Annotated[
        str | None, "address of a running controller to look at", "--controller-address"
    ] = None
    worker: Annotated[
        str | None,
        "address that a worker on this machine is to be reached at",
        "--worker-address",
    ] = None
    host: Annotated[str, "address that is to be listened on"] = "127.0.0.1"
    port: Annotated[
        tuple[int, ...],
        "ports that are to be listened on; default: those of all commands, unless --controller is "
        "given",
    ] = ()
    model_path: Annotated[str | None, "folder of a checkpoint that is to be served"] = None
    model_base: Annotated[str | None, "folder that an adapter was trained on"] = None
    state_dir: Annotated[Path, "folder of the cluster token, conversations and pictures"] = STATE
    cluster_token_file: Annotated[
        Path | None, "file with the controller's token; default: the one in the state folder"
    ] = None
    json: Annotated[bool, "write one JSON object a line"] = False

    def __post_init__(self) -> None:
        args.require_http(self, "controller", "worker")
        if self.worker is not None:
            args.require_port(address.port_of(self.worker))
        for port in self.port:
            args.require_port(port)

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports to try."""
        return self.port or (() if self.controller else _PORTS)

    @property
    def token_path(self) -> Path:
        """The file of the cluster token."""
        return token_file(self.cluster_token_file, self.state_dir)


async def findings(config: DoctorConfig) -> AsyncIterator[Finding]:
    """Run every check that `config` asks for, the quick ones first."""
    for each in machine.check_ports(config.host, config.ports):
        yield each
    yield machine.check_disk(config.state_dir)
    is_elsewhere = config.controller is not None and not is_loopback(
        address.host_of(config.controller)
    )
    yield machine.check_token_file(config.token_path, is_needed=is_elsewhere)
    given = filter(None, (config.controller, config.worker))
    yield machine.check_proxies([*given] or ["http://localhost"])
    yield software.check_versions(software.installed_requirements())
    yield software.check_torch(has_gpu=software.has_nvidia_gpu())
    yield software.check_torchvision()
    if config.model_path is not None:
        yield model.check_model(config.model_path, config.model_base)
    if config.controller is not None:
        async for each in _of_controller(config.controller.rstrip("/"), config):
            yield each


async def _of_controller(controller: str, config: DoctorConfig) -> AsyncIterator[Finding]:
    headers = _token_shown(config.token_path)
    try:
        connector = aiohttp.TCPConnector(ssl=trust(config.ca_file))
    except CommandError as exc:
        yield Finding("controller", "problem", exc.message, exc.remedy)
        return
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
        ask = partial(cluster.ask, session, headers=headers)
        try:
            health = await ask(f"{controller}/health")
            yield (identity := cluster.check_identity(controller, health))
            if identity.level != "ok":
                return
            yield cluster.check_clock(health, time.time())
            yield cluster.check_version(await ask(f"{controller}/openapi.json"))
            for each in cluster.check_workers(await ask(f"{controller}/workers")):
                yield each
            if config.worker is None:
                return
            own = address.own_addresses()
            yield (there := address.check_worker_address(config.worker, controller, own))
            if there.level == "problem":
                return
            async with address.stand_in(config.host, address.port_of(config.worker)) as own_id:
                probe = await ask(f"{controller}/admin/probe", body={"address": config.worker})
                yield address.check_probe(config.worker, probe, own_id)
        except (aiohttp.ClientError, TimeoutError) as exc:
            yield cluster.unreachable(controller, exc)


def _token_shown(path: Path) -> dict[str, str]:
    """Return the header with the cluster token, where there is one; no file is made."""
    try:
        return bearer(read_token(path)) if path.exists() else {}
    except SystemExit:  # its own check has told
        return {}


async def _report(config: DoctorConfig) -> bool:
    """Write the findings as they come; False when one is a problem."""
    has_problem = False
    async for each in findings(config):
        has_problem |= each.level == "problem"
        sys.stdout.write((json.dumps(asdict(each)) if config.json else each.line) + "\n")
        sys.stdout.flush()
    return not has_problem


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks."""
    replace_unprintable()
    config = args.parse(DoctorConfig, argv)
    logs.configure("warning")
    return 0 if asyncio.run(_report(config)) else 1


if __name__ == "__main__":
    sys.exit(main())
