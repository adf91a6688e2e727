"""The command `python -m llava_serve.judge`: a model judges the arena's battles.

Exit codes: 0 done; 1 some battles could not be judged; 2 a flag or a file is wrong, or the server
cannot be asked.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from llava_serve import logs
from llava_serve.args import parse
from llava_serve.errors import ServeError
from llava_serve.judging.config import JudgeConfig
from llava_serve.judging.judge import Judge, Report, open_client
from llava_serve.storage.media import MediaStore


def main(argv: Sequence[str] | None = None) -> int:
    logs.replace_unprintable()
    config = parse(JudgeConfig, argv)
    logs.configure(config.log_level)
    try:
        report = asyncio.run(_judge(config))
    except ServeError as exc:
        sys.stderr.write(f"{exc.with_remedy}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    text = json.dumps(asdict(report), indent=2) if config.json else _lines(report, config.model)
    sys.stdout.write(f"{text}\n")
    return int(report.failed > 0)


async def _judge(config: JudgeConfig) -> Report:
    with config.opened() as store:
        media = MediaStore(config.state_dir / "media", limit_bytes=0)
        async with open_client(config) as client:
            return await Judge(config, client, store, media).run()


def _lines(report: Report, judge: str) -> str:
    failed = [f"  {count} times: {reason}" for reason, count in report.failures.items()]
    both = report.agreement
    agreed = "no battle has votes of both"
    if both.rate is not None:
        kappa = "none" if both.kappa is None else f"{both.kappa:.2f}"
        agreed = f"{100 * both.rate:.0f} % of {both.battles} battles, Cohen's kappa {kappa}"
    return "\n".join(
        [
            f"judged by {judge}: {report.judged}, with the same verdict in both orders: "
            f"{report.consistent}",
            f"failed: {report.failed}",
            *failed,
            f"without two whole answers: {report.skipped}",
            f"agreement with people: {agreed}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
