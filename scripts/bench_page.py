"""Measure the page in a real Chromium: its first answer, many tabs at once, and what it weighs."""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import aiohttp
import psutil
from playwright.async_api import Browser, Page

from scripts import page_tabs
from scripts.bench_report import Figure, report
from scripts.bench_systems import free_port, started
from scripts.page_clients import page_clients
from scripts.page_tabs import Word, chromium
from scripts.stamped_worker import TURN_MS, delay_ms, stamp

_MANY_WORDS = 10**6  # an answer that is not to end
_SETTLE_S = 4.0
# From the click on Send to the first text of the answer, and to its end.
_TIME_ANSWER = """
new Promise((done) => {
  let sent = null, first = null;
  const time = () => {
    if (sent === null) return;
    const text = document.querySelector('#chat-transcript .turn.assistant .text');
    if (text?.textContent.trim()) first ??= performance.now() - sent;
    const ended = document.querySelector('#chat-history .turn.assistant');
    if (first !== null && ended) done([first, performance.now() - sent]);
  };
  new MutationObserver(time).observe(
    document.body, {childList: true, subtree: true, characterData: true},
  );
  document.addEventListener('click', (event) => {
    if (event.target.closest('.submit-button')) sent ??= performance.now();
  }, {capture: true});
  document.querySelector('#chat-composer .submit-button').click();
})
"""


@dataclass(frozen=True)
class Stack:
    """A controller, a worker and the page; the processes by what they are."""

    page: str
    processes: dict[str, int]


@contextmanager
def served(*worker: str, places: int = 16) -> Iterator[Stack]:
    """Start a stack around a worker, a module with its flags; it answers so many at once."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())

        def start(module: str, *flags: str) -> tuple[str, int]:
            port = free_port()
            command = [sys.executable, "-m", module, "--port", str(port), *flags]
            pid = stack.enter_context(started([*command, "--state-dir", folder], port))
            return f"http://127.0.0.1:{port}", pid

        quiet = ("--log-level", "warning")
        controller, controller_pid = start("llava_serve.controller", *quiet)
        to = ("--controller", controller)
        _, worker_pid = start(*worker, *to)
        limit = ("--concurrency-count", str(places))
        page, page_pid = start("llava_serve.gradio_web_server", *to, *limit, *quiet)
        processes = {"controller": controller_pid, "worker": worker_pid, "page": page_pid}
        yield Stack(page, processes)


@dataclass
class Measured:
    """What the rounds have gathered, by what was measured and its unit."""

    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    goals: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, unit: str, value: float, goal: str = "") -> None:
        self.values.setdefault((name, unit), []).append(value)
        self.goals[name] = goal

    def figures(self) -> list[Figure]:
        return [
            Figure(name, unit, tuple(values), self.goals[name])
            for (name, unit), values in self.values.items()
        ]


async def first_answer(browser: Browser, measured: Measured) -> None:
    """Time the first answer of a stack that has just started, about a picture."""
    with served("llava_serve.model_worker", "--log-level", "warning") as stack:
        page = await page_tabs.new_tab(browser)
        await page.goto(stack.page)
        await page_tabs.ready(page)
        await page.locator("#chat-history .example").first.click()
        await page.locator("#chat-composer .thumbnail-item").first.wait_for()
        await asyncio.sleep(_SETTLE_S)
        first, whole = await page.evaluate(_TIME_ANSWER)
        await page.context.close()
    measured.add("click to the first words of the first answer", "s", first / 1e3, "under 2")
    measured.add("click to the whole of it", "s", whole / 1e3)


async def weight(browser: Browser, measured: Measured) -> None:
    """Weigh the page, and what Gradio sends for one component of each of its kinds."""
    with served("scripts.stamped_worker", "--rate", "1") as stack:
        ours = await page_tabs.weigh(browser, stack.page, "#chat-history .example")
        async with aiohttp.ClientSession() as session, session.get(f"{stack.page}/config") as told:
            kinds = sorted({one["type"] for one in (await told.json())["components"]})
    port = free_port()
    command = [sys.executable, "-m", "scripts.bare_gradio", "--port", str(port), *kinds]
    with started(command, port):
        theirs = await page_tabs.weigh(browser, f"http://127.0.0.1:{port}", ".gradio-container")
    for name, unit, mine, bare, goal in (
        ("on the wire", "kB", ours.wire, theirs.wire, "at most 100"),
        ("unpacked", "kB", ours.plain, theirs.plain, ""),
    ):
        measured.add(f"the page {name}", unit, mine / 1e3)
        measured.add(f"Gradio's own {name}", unit, bare / 1e3)
        measured.add(f"the page beyond Gradio's own {name}", unit, (mine - bare) / 1e3, goal)


class Busy:
    """How much of a core each kind of process takes."""

    def __init__(self, processes: dict[str, int]) -> None:
        self._kinds = {pid: kind for kind, pid in processes.items()}
        self._before = self._times()
        self._began = time.monotonic()

    def _times(self) -> dict[str, float]:
        taken: dict[str, float] = defaultdict(float)
        me = psutil.Process()
        for one in (me, *me.children(recursive=True)):
            try:
                name, times = one.name(), one.cpu_times()
            except psutil.Error:  # it has just ended
                continue
            other = "Chromium" if "chrom" in name else "this bench"
            taken[self._kinds.get(one.pid, other)] += times.user + times.system
        return taken

    def percent(self) -> dict[str, float]:
        """Return it since the beginning, in percent of one core."""
        spent_s, after = time.monotonic() - self._began, self._times()
        return {kind: 100 * (after[kind] - self._before[kind]) / spent_s for kind in after}


@dataclass(frozen=True)
class Load:
    """So many answers at once, of so many words a second, watched for some rounds of seconds."""

    tabs: int
    rate: float
    rounds: int
    seconds: float


Windows = list[tuple[int, int]]
"""When each round began and ended, as stamps."""


async def windows(load: Load, name: str, measured: Measured, processes: dict[str, int]) -> Windows:
    """Wait for the rounds, and note what is busy in each; return when they were, as stamps."""
    found = []
    for _ in range(load.rounds):
        began, busy = stamp(), Busy(processes)
        await asyncio.sleep(load.seconds)
        found.append((began, stamp()))
        for kind, percent in sorted(busy.percent().items()):
            measured.add(f"{name}: CPU of {kind}", "% of a core", percent)
    return found


def note(
    name: str, words: Sequence[Sequence[Word]], windows: Windows, measured: Measured, goal: str
) -> None:
    """Note the ages of the words that came to some tabs within the rounds."""
    for began, ended in windows:
        long = delay_ms(began, ended)
        ages = [age for tab in words for now, age in tab if (now - began) % TURN_MS < long]
        if not ages:
            raise SystemExit(f"{name}: no word came within {long / 1e3:.0f} s")
        ages.sort()
        measured.add(f"{name}: median", "ms", statistics.median(ages), goal)
        measured.add(f"{name}: 99 of 100 within", "ms", ages[len(ages) * 99 // 100])
        measured.add(f"{name}: words a second", "1/s", len(ages) / (long / 1e3))


async def real_tabs(browser: Browser, load: Load, measured: Measured) -> None:
    """Stream to tabs alone."""
    name = f"{load.tabs} tabs"
    with stamped(load) as stack:
        pages = [await page_tabs.recording_tab(browser, stack.page) for _ in range(load.tabs)]
        await all_ask(pages)
        found = await windows(load, name, measured, stack.processes)
        await note_tabs(name, pages, found, measured, "under 200")


async def few_tabs(browser: Browser, load: Load, few: int, measured: Measured) -> None:
    """Stream to clients that are no browsers, and to a few tabs beside them."""
    name, others = f"{few} tabs beside {load.tabs - few} clients", load.tabs - few
    with stamped(load) as stack:
        pages = [await page_tabs.recording_tab(browser, stack.page) for _ in range(few)]
        async with page_clients(stack.page, others, str(_MANY_WORDS)) as clients:
            await all_ask(pages)
            found = await windows(load, name, measured, stack.processes)
            note(f"{name}, in the clients", [c.words for c in clients], found, measured, "")
            await note_tabs(name, pages, found, measured, "under 200")


async def empty_tabs(browser: Browser, load: Load, measured: Measured) -> None:
    """Append words to empty pages: what Chromium needs by itself."""
    name = f"{load.tabs} empty pages"
    async with page_tabs.empty_page(load.rate) as address:
        pages = [await page_tabs.recording_tab(browser, address) for _ in range(load.tabs)]
        await asyncio.sleep(_SETTLE_S)
        found = await windows(load, name, measured, {})
        await note_tabs(name, pages, found, measured, "")


def stamped(load: Load) -> AbstractContextManager[Stack]:
    """Start a stack whose worker stamps its words."""
    return served("scripts.stamped_worker", "--rate", str(load.rate), places=load.tabs)


async def all_ask(pages: Sequence[Page]) -> None:
    """Ask in every tab, and let all answers begin."""
    for page in pages:
        await page_tabs.ready(page)
        await page_tabs.ask(page, str(_MANY_WORDS))
    await asyncio.sleep(_SETTLE_S)


async def note_tabs(
    name: str, pages: Sequence[Page], found: Windows, measured: Measured, goal: str
) -> None:
    """Note what tabs have seen within the rounds, and close them."""
    words = [await page_tabs.words_of(page) for page in pages]
    for page in pages:
        await page.context.close()
    note(name, words, found, measured, goal)


async def measure(asked: argparse.Namespace) -> Measured:
    measured = Measured()
    load = Load(asked.tabs, asked.rate, asked.rounds, asked.seconds)
    slow = replace(load, rate=asked.tab_rate)
    async with chromium() as browser:
        for _ in range(asked.rounds):
            await first_answer(browser, measured)
        await weight(browser, measured)
    async with chromium() as browser:
        await few_tabs(browser, load, asked.few, measured)
    for work in (real_tabs, empty_tabs):
        async with chromium() as browser:
            await work(browser, slow, measured)
    return measured


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="times that each is measured")
    parser.add_argument("--tabs", type=int, default=50, help="that stream at once")
    parser.add_argument("--few", type=int, default=4, help="of them real where the others are not")
    parser.add_argument("--rate", type=float, default=20.0, help="words a second of an answer")
    parser.add_argument("--tab-rate", type=float, default=5.0, help="the same where all are tabs")
    parser.add_argument("--seconds", type=float, default=8.0, help="that a round of theirs lasts")
    asked = parser.parse_args(argv)
    facts = {"tabs": asked.tabs, "rate": asked.rate, "tab_rate": asked.tab_rate}
    report("page", asyncio.run(measure(asked)).figures(), **facts)


if __name__ == "__main__":
    main()
