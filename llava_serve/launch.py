"""Command that launches a stack: starts controller, workers, servers and page, restarts, stops.

Exit codes: 0 stopped by SIGTERM or Ctrl-C; 1 a process ended before it was ever ready; 2 a flag, a
model or a port is wrong, and nothing was started.
"""

import asyncio
import signal
import ssl
import sys
from collections.abc import Sequence

import aiohttp
from rich.console import Console

from llava_serve import args
from llava_serve.accounts.config import asks_for_keys
from llava_serve.credential import credential_for, key_file_in
from llava_serve.errors import CommandError
from llava_serve.http.tls import Tls
from llava_serve.launching.config import LaunchConfig
from llava_serve.launching.console import LaunchConsole, first_sample, greeting, write_or_drop
from llava_serve.launching.plan import Plan, check_ports, make_plan
from llava_serve.launching.supervisor import Readiness, Supervisor
from llava_serve.logs import replace_unprintable
from llava_serve.tiny import EXAMPLES


def main(argv: Sequence[str]) -> int:
    """Run until stopped; what stands behind `--` goes to every worker."""
    replace_unprintable()
    end = argv.index("--") if "--" in argv else len(argv)
    config = args.parse(LaunchConfig, argv[:end], hint=" (flags of the workers stand behind --)")
    try:
        plan = make_plan(config, worker_flags=argv[end + 1 :])
        check_ports(plan.ports)
        trust = Tls.of(config).trust
    except CommandError as exc:
        return _fail(exc, 2)
    try:
        asyncio.run(_supervise(plan, trust, config))
    except CommandError as exc:
        return _fail(exc, 1)
    return 0


async def _supervise(plan: Plan, trust: ssl.SSLContext, config: LaunchConfig) -> None:
    names = [process.name for stage in plan.stages for process in stage]
    console = LaunchConsole(names, Console(stderr=True))
    loop = asyncio.get_running_loop()
    connector = aiohttp.TCPConnector(ssl=trust)
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
        credential = credential_for(plan.controller.address, None, config.state_dir)
        readiness = Readiness(session, plan.controller.address, credential)
        supervisor = Supervisor(readiness.missing, console)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, supervisor.stop)
        await supervisor.run(plan.stages, lambda: _greet(plan, config))


def _greet(plan: Plan, config: LaunchConfig) -> None:
    key = key_file_in(config.state_dir) if asks_for_keys(config, config.host) else None
    text = greeting(plan, first_sample(EXAMPLES), config.ca_file, key)
    write_or_drop(sys.stdout, f"\n{text}\n")


def _fail(error: CommandError, code: int) -> int:
    write_or_drop(sys.stderr, f"{error.message}\n{error.remedy}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
