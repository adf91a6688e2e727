"""The benchmarks' parts fit together; what they measure is theirs to say."""

import asyncio
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch

from llava_serve.tiny import CHECKPOINT
from scripts import bare_gradio, bench_controller, bench_page, bench_streams, simulate_cluster
from scripts.bench_report import Figure, report
from scripts.bench_systems import Chat
from scripts.bench_throughput import PICTURES, Goal, compare
from scripts.page_tabs import chromium
from scripts.stamped_worker import TURN_MS, delay_ms


def short_chats(count: int, rng: Random) -> list[Chat]:
    """Draw chats of which a system must know the first answer, and no more."""
    chats = PICTURES.draw(count, rng)
    return [replace(chat, questions=chat.questions[:2], tokens=8) for chat in chats]


@pytest.mark.slow
def test_every_system_holds_the_same_chats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # for its logs and its report
    work = replace(PICTURES, draw=short_chats, loads={(2, 2): Goal(1, "generate")})
    figures = compare(CHECKPOINT, torch.float32, work, rounds=2)
    systems = {"ours", "transformers serve", "generate", "generate on 5 threads"}
    assert {figure.name.rpartition(": ")[2] for figure in figures} == systems | {"ours / generate"}
    assert all(len(figure.rounds) == 2 and min(figure.rounds) > 0 for figure in figures)
    report("test", figures)
    assert "ours / generate" in capsys.readouterr().out
    assert "processor" in Path(".runs/bench_test.json").read_text()


def test_a_figure_shows_its_median_and_its_spread() -> None:
    assert str(Figure("x", "s", (3.0, 1.0, 2.0))) == "2 (1 to 3)"
    assert str(Figure("x", "s", (1.5,))) == "1.5"


async def test_paced_records_are_timed_from_being_written() -> None:
    server = await asyncio.start_server(bench_streams.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        address = f"http://{host}:{port}"
        clients = await bench_streams.time_streams(address, 2, 0.2, {"X-Any": "thing"})
        await asyncio.gather(*(client.ended for client in clients))
    assert [len(client.delays_ms) for client in clients] == [4, 4]
    assert all(delay > 0 for client in clients for delay in client.delays_ms)


def test_the_controller_s_bench_tells_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench_controller.main(["--help"])
    assert "--streams" in capsys.readouterr().out


def test_a_stamp_is_older_than_a_later_one_that_began_again() -> None:
    assert delay_ms(1000, 1250) == 250
    assert delay_ms(TURN_MS - 50, 200) == 250


async def test_the_bare_page_has_one_component_of_each_kind() -> None:
    page = bare_gradio.build(["html", "button", "tabitem", "dropdown", "form"])
    kinds = [one["type"] for one in page.get_config_file()["components"]]
    assert [kinds.count(kind) for kind in ("button", "tabitem", "dropdown")] == [1, 1, 1]


@pytest.mark.slow
async def test_words_are_timed_in_tabs_and_in_other_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.chdir(tmp_path)  # for its logs
    measured = bench_page.Measured()
    async with chromium() as browser:
        load = bench_page.Load(tabs=2, rate=5.0, rounds=1, seconds=4.0)
        await bench_page.few_tabs(browser, load, 1, measured)
    values = {name: value for (name, _), (value,) in measured.values.items()}
    for seen in ("1 tabs beside 1 clients", "1 tabs beside 1 clients, in the clients"):
        assert values[f"{seen}: words a second"] > 1
        assert values[f"{seen}: median"] >= 0


def test_a_plot_that_cannot_be_drawn_is_refused_before_anything_is_simulated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(simulate_cluster, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        simulate_cluster.main(["--plot", "cluster.png"])
    assert "python -m pip install matplotlib" in capsys.readouterr().err
