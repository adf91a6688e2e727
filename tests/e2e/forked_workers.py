"""Worker processes that one process forks, which has the bundled checkpoint in memory.

So a worker that is killed has a successor at once. Each line of the input is a port; the answer is
the process id of the worker that listens there.
"""

import os
import signal
import sys
from pathlib import Path

from llava_serve import logs
from llava_serve.checkpoints.load import load
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.config import MediaConfig, MembershipConfig, ModelConfig
from llava_serve.engines.torch.budget import choose_budget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.worker.lifecycle import serve


def main() -> None:
    controller, state_dir, slots = sys.argv[1:]
    logs.configure("warning")
    loaded = load(ModelConfig(device="cpu"))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that were killed
    for line in sys.stdin:
        if not (process := os.fork()):
            sys.stdin.close()
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # or the other's end would not show
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            config = MembershipConfig(
                port=int(line), controller=(controller,), state_dir=Path(state_dir)
            )
            work(loaded, config, int(slots))
        sys.stdout.write(f"{process}\n")
        sys.stdout.flush()


def work(loaded: LoadedModel, config: MembershipConfig, slots: int) -> None:
    """Serve until told to stop; the process ends here."""
    try:
        serve(TorchEngine(loaded, choose_budget(loaded, slots=slots)), config, MediaConfig())
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
