"""The commands `python -m llava_serve.replay record` and `… check`.

Exit codes: 0 done, and nothing moved; 1 an answer moved past the tolerance; 2 a flag or a file is
wrong, or the server cannot be asked.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from llava_serve import logs
from llava_serve.args import parse
from llava_serve.asked_server import open_server
from llava_serve.errors import ServeError
from llava_serve.replaying.asking import answer_of, greedy
from llava_serve.replaying.config import CheckConfig, RecordConfig
from llava_serve.replaying.drift import Drift, drift_of
from llava_serve.replaying.recording import RecordedRequest, Recording
from llava_serve.replaying.report import as_json, print_table
from llava_serve.replaying.requests import MAX_TOKENS, built_in, read_requests

_PROGRAM = "python -m llava_serve.replay"
_USAGE = (
    f"usage: {_PROGRAM} record --controller URL [--model M] --out FILE [--requests FILE]\n"
    f"       {_PROGRAM} check FILE --controller URL [--model M] [--tolerance T] [--json]\n"
)


def main(argv: Sequence[str] | None = None) -> int:
    logs.replace_unprintable()
    try:
        match list(sys.argv[1:] if argv is None else argv):
            case ["record", *flags]:
                config = parse(RecordConfig, flags, program=f"{_PROGRAM} record")
                logs.configure(config.log_level)
                return asyncio.run(_record(config))
            case ["check", "-h" | "--help"]:
                parse(CheckConfig, ["--help"], program=f"{_PROGRAM} check FILE")
            case ["check", file, *flags] if not file.startswith("-"):
                checked = parse(CheckConfig, flags, program=f"{_PROGRAM} check FILE")
                logs.configure(checked.log_level)
                return asyncio.run(_check(Path(file), checked))
            case ["-h" | "--help"]:
                sys.stdout.write(_USAGE)
                return 0
    except ServeError as exc:
        sys.stderr.write(f"{exc.with_remedy}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # who reads the report has left; Python must not flush to it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    sys.stderr.write(_USAGE)
    return 2


async def _record(config: RecordConfig) -> int:
    bodies = built_in() if config.requests is None else read_requests(config.requests)
    requests = []
    async with open_server(config) as server:
        model = await server.model(config.model)
        for name, body in bodies.items():
            asked = greedy(body, MAX_TOKENS, config.top_logprobs)
            answer = await answer_of(server, model, name, asked)
            requests.append(RecordedRequest(name=name, body=asked, answer=answer))
    recorded_at = datetime.now(UTC).isoformat(timespec="seconds")
    Recording(model=model, recorded_at=recorded_at, requests=requests).write(config.out)
    sys.stdout.write(f"{len(requests)} answers of {model} are in {config.out}\n")
    return 0


async def _check(path: Path, config: CheckConfig) -> int:
    recording = Recording.read(path)
    drifts: list[Drift] = []
    async with open_server(config) as server:
        model = await server.model(config.model or recording.model)
        for one in recording.requests:
            answer = await answer_of(server, model, one.name, one.body)
            drifts.append(drift_of(one.name, one.answer, answer))
    if config.json:
        sys.stdout.write(as_json(drifts, model, config.tolerance) + "\n")
    else:
        recorded = f"{recording.model} of {recording.recorded_at}"
        print_table(Console(), drifts, model, recorded, config.tolerance)
    return int(any(one.exceeds(config.tolerance) for one in drifts))


if __name__ == "__main__":
    sys.exit(main())
