"""Command that launches a stack: starts controller, workers, servers and page, restarts, stops.

Exit codes: 0 stopped by SIGTERM or Ctrl-C; 1 a process ended before it was ever ready; 2 a flag, a
model or a port is wrong or Ray is not reached, and nothing was started.
"""

import asyncio
import signal
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import aiohttp
from rich.console import Console

from llava_serve import args
from llava_serve.accounts.config import asks_for_keys
from llava_serve.cluster_token import read_token, token_file
from llava_serve.credential import credential_for, key_file_in
from llava_serve.errors import CommandError
from llava_serve.http.tls import Tls
from llava_serve.launching.config import LaunchConfig, StatusConfig
from llava_serve.launching.console import LaunchConsole, first_sample, greeting, write_or_drop
from llava_serve.launching.plan import Plan, check_ports, make_plan
from llava_serve.launching.supervisor import Readiness, Supervisor
from llava_serve.logs import replace_unprintable
from llava_serve.tiny import EXAMPLES

if TYPE_CHECKING:
    from llava_serve.launching.placement.replicas import Replicas


def main(argv: Sequence[str]) -> int:
    """Run until stopped; what stands behind `--` goes to every worker."""
    replace_unprintable()
    if argv[:1] == ["status"]:
        return _show_status(argv[1:])
    end = argv.index("--") if "--" in argv else len(argv)
    config = args.parse(LaunchConfig, argv[:end], hint=" (flags of the workers stand behind --)")
    with ExitStack() as stack:
        try:
            plan = make_plan(config, worker_flags=argv[end + 1 :])
            check_ports(plan.ports)
            trust = Tls.of(config).trust
            if config.ray is not None:
                stack.enter_context(_connected(config.ray))
                _require_reachable(config)
        except CommandError as exc:
            return _fail(exc, 2)
        try:
            asyncio.run(_supervise(plan, trust, config))
        except CommandError as exc:
            return _fail(exc, 1)
    return 0


def _show_status(flags: Sequence[str]) -> int:
    config = args.parse(StatusConfig, flags, program="python -m llava_serve.launch status")
    try:
        with _connected(config.ray):
            from llava_serve.launching.placement.status import placement_table

            write_or_drop(sys.stdout, placement_table())
    except CommandError as exc:
        return _fail(exc, 2)
    return 0


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Connect with a Ray cluster; only here and below is Ray imported."""
    if find_spec("ray") is None:
        raise CommandError("--ray: Ray is not installed", 'Install it: pip install -e ".[ray]".')
    from llava_serve.launching.placement.machines import connected

    with connected(address):
        yield


def _require_reachable(config: LaunchConfig) -> None:
    from llava_serve.launching.placement.placing import reached_controller

    reached_controller(config)


async def _supervise(plan: Plan, trust: ssl.SSLContext, config: LaunchConfig) -> None:
    names = [process.name for stage in plan.stages for process in stage]
    names += [name for placed in plan.placed for name in placed.names]
    console = LaunchConsole(names, Console(stderr=True))
    loop = asyncio.get_running_loop()
    connector = aiohttp.TCPConnector(ssl=trust)
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
        credential = credential_for(plan.controller.address, None, config.state_dir)
        readiness = Readiness(session, plan.controller.address, credential)
        supervisor = Supervisor(readiness.missing, console)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, supervisor.stop)
        keep = _replicas(plan, config, session, console).keep if plan.placed else None
        await supervisor.run(plan.stages, lambda: _greet(plan, config), keep)


def _replicas(
    plan: Plan, config: LaunchConfig, session: aiohttp.ClientSession, console: LaunchConsole
) -> "Replicas":
    from llava_serve.launching.placement.placing import replicas_of

    token = read_token(token_file(None, config.state_dir))
    return replicas_of(plan, config, token, session, console)


def _greet(plan: Plan, config: LaunchConfig) -> None:
    key = key_file_in(config.state_dir) if asks_for_keys(config, config.host) else None
    text = greeting(plan, first_sample(EXAMPLES), config.ca_file, key)
    write_or_drop(sys.stdout, f"\n{text}\n")


def _fail(error: CommandError, code: int) -> int:
    write_or_drop(sys.stderr, f"{error.message}\n{error.remedy}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
