"""One process: its lines, its end, and that nothing of it stays."""

import asyncio
import sys

import anyio
import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from llava_serve.launching.child import running


def _python(script: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", script)


async def _lines(command: tuple[str, ...]) -> list[str]:
    lines: list[str] = []
    async with running(command, lines.append, grace_s=5) as child:
        await child.ended()
    return lines


async def test_both_outputs_arrive_line_by_line_and_nothing_is_lost() -> None:
    script = "for i in 1 2 3; do echo out $i; echo err $i >&2; done; printf 'no end'"
    assert await _lines(("sh", "-c", script)) == [
        *("out 1", "err 1", "out 2", "err 2", "out 3", "err 3"),
        "no end",
    ]


async def test_a_flood_of_lines_arrives_whole() -> None:
    lines = await _lines(_python("for i in range(20000): print('line', i)"))
    assert lines == [f"line {i}" for i in range(20000)]


async def test_a_very_long_line_and_bytes_that_are_no_text_arrive() -> None:
    lines = await _lines(
        _python("import sys; sys.stdout.buffer.write(b'x' * 300000 + b'\\n\\xff\\n')")
    )
    assert sum(line.count("x") for line in lines) == 300000
    assert lines[-1] == "\ufffd"


async def test_a_progress_bar_shows_each_state() -> None:
    assert await _lines(("printf", "10%%\\r50%%\\r100%%\\n")) == ["10%", "50%", "100%"]


async def test_the_end_tells_the_exit_code_or_the_signal() -> None:
    lines: list[str] = []
    async with running(("sh", "-c", "exit 7"), lines.append, grace_s=5) as child:
        assert await child.ended() == 7
    async with running(("sh", "-c", "kill -9 $$"), lines.append, grace_s=5) as child:
        assert await child.ended() == -9


async def test_leaving_ends_the_process_and_what_it_started() -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()
    command = ("sh", "-c", "sleep 600 & echo $!; wait")
    async with running(command, seen.put_nowait, grace_s=5) as child:
        grandchild = psutil.Process(int(await seen.get()))
        pid = child.process.pid
    assert not psutil.pid_exists(pid)
    assert await _gone(grandchild)


async def test_a_death_is_noticed_while_a_grandchild_still_holds_the_output() -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()
    script = "sleep 600 & echo $!; kill -9 $$"
    async with running(("sh", "-c", script), seen.put_nowait, grace_s=5) as child:
        assert await child.ended() == -9
        grandchild = psutil.Process(int(await seen.get()))
    assert await _gone(grandchild)


async def test_a_process_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()
    script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    async with running(("sh", "-c", script), seen.put_nowait, grace_s=0.2) as child:
        await seen.get()
    assert child.process.returncode == -9


async def test_a_cancel_within_the_grace_period_kills_at_once() -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()
    script = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done"

    async def keep() -> None:
        async with running(("sh", "-c", script), seen.put_nowait, grace_s=600) as child:
            await child.ended()

    keeping = asyncio.create_task(keep())
    assert await seen.get() == "ready"
    keeping.cancel()
    assert await seen.get() == "asked"
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping


async def test_output_that_cannot_be_passed_on_is_an_error() -> None:
    def broken(_: str) -> None:
        raise RuntimeError("a bug")

    command = ("sh", "-c", "echo hello; exec sleep 600")
    with pytest.raises(RuntimeError, match="a bug"):
        async with running(command, broken, grace_s=5) as child:
            await child.ended()


@pytest.mark.slow
async def test_a_launcher_that_is_killed_takes_its_children_along() -> None:
    module = "llava_serve.launching.die_with_parent"
    child = f"{sys.executable} -m {module} timeit -n 1 -r 1 'import time; time.sleep(600)'"
    launcher = f"""
import asyncio, os, shlex
from llava_serve.launching.child import running
async def main():
    async with running(shlex.split({child!r}), print, 5) as child:
        print(child.process.pid, flush=True)
        await child.ended()
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", launcher, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    grandchild = psutil.Process(int(await process.stdout.readline()))
    process.kill()
    await process.wait()
    assert await _gone(grandchild)


async def _gone(process: psutil.Process) -> bool:
    """Wait for the end; a killed orphan may stay a zombie where process 1 collects none."""
    with anyio.fail_after(10):
        # Nobody announces the end of a process that is not one's own child.
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return True
