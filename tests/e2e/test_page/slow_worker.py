"""A real worker process whose echo engine waits before each word: it can be caught at it."""

import sys
from pathlib import Path

from llava_serve import logs
from llava_serve.config import MediaConfig, MembershipConfig
from llava_serve.engines.echo import EchoEngine
from llava_serve.worker.lifecycle import serve

if __name__ == "__main__":
    name, port, controller, state_dir, delay_s, *slots = sys.argv[1:]
    logs.configure("info")
    config = MembershipConfig(
        port=int(port),
        controller=(controller,),
        state_dir=Path(state_dir),
        limit_model_concurrency=int(slots[0]) if slots else None,
    )
    serve(EchoEngine(name, delay_s=float(delay_s)), config, MediaConfig())
