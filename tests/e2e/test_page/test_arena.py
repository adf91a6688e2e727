"""The arena and its leaderboard in a real browser."""

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Browser, expect

from llava_serve.arena.tally import Winner
from llava_serve.storage.battles import Battles, BattleVote
from tests.chromium import Tab, boxes_of, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, PHONE, SIZES, Stack
from tests.e2e.test_page.test_accessibility import SMALL, check, check_themes, themes

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]

NAMES = ("secret-one", "secret-two")
BUTTONS = ("#arena-a", "#arena-b", "#arena-tie", "#arena-both-bad")


async def in_arena(tab: Tab) -> None:
    await tab.page.get_by_role("tab", name="Arena").click()
    tab.name = "arena"
    await expect(tab.page.locator("#arena-status")).to_contain_text("2 models take part")


def votes(stack: Stack) -> int:
    return sum(one.votes for one in Battles(stack.store).tallies())


@SIZES
async def test_a_battle_is_blind_until_its_vote_and_counts_on_the_leaderboard(
    browser: Browser, stack: Stack, shapes: Path, size: tuple[int, int]
) -> None:
    for name in NAMES:
        await stack.join(name, delay_s=0.01)
    async with opened(browser, stack.page, size) as tab:
        await in_arena(tab)
        for button in BUTTONS:
            await expect(tab.page.locator(button)).to_be_disabled()
        await tab.ask("How many shapes are there?", shapes)
        await tab.answered(2)
        await tab.ask("And what colours do they have?")  # to the same two
        await tab.answered(4)
        for first in (0, 2):  # the same picture and the same words for both: they repeat them
            said = [await tab.answers.nth(slot).locator(".text").inner_text() for slot in (0, 1)]
            assert said[0] == said[1] and "[1 picture: 320x240]" in said[0], first
        assert [engine.running for engine in stack.engines.values()] == [0, 0]
        texts = [await tab.page.locator("#arena-tab").inner_html(), tab.page.url]
        asked = {"id": parse_qs(urlsplit(tab.page.url).query)["arena"][0]}
        answer = await tab.page.request.post(f"{stack.page}/transcript", data=asked)
        texts.append(await answer.text())
        assert "How many shapes" in texts[-1]
        assert [name for name in NAMES for text in texts if name in text] == []

        await tab.page.locator("#arena-b").click()
        outcome = tab.transcript.locator(".outcome")
        await expect(outcome).to_contain_text("You found B better.")
        for name in NAMES:
            await expect(outcome).to_contain_text(name)
        await expect(outcome).to_be_in_viewport()
        for button in BUTTONS:
            await expect(tab.page.locator(button)).to_be_disabled()
        assert votes(stack) == 1

        await tab.page.get_by_role("tab", name="Leaderboard").click()
        board = tab.page.locator("#leaderboard")
        for name in NAMES:
            await expect(board.locator(".ratings")).to_contain_text(name)
        await expect(board).to_contain_text("1 vote;")

        await tab.page.get_by_role("tab", name="Arena").click()
        await tab.page.locator("#arena-clear").click()
        await expect(tab.transcript.get_by_role("heading", name="Arena")).to_be_visible()
        assert tab.foreign == []


@SIZES
async def test_a_question_after_the_vote_begins_another_battle(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    for name in NAMES:
        await stack.join(name)
    async with opened(browser, stack.page, size) as tab:
        await in_arena(tab)
        await tab.ask("which?")
        await tab.answered(2)
        await tab.page.locator("#arena-tie").click()
        await expect(tab.transcript).to_contain_text("You called it a tie.")
        await expect(tab.textbox).to_have_attribute("placeholder", re.compile("a new battle"))
        first = tab.page.url
        if size == PHONE:  # beneath the votes, and as wide as they are
            body = tab.page.locator("body")
            wide, button = await boxes_of(body, ".actions:has(#arena-a)", "#arena-clear")
            assert button["width"] > 0.9 * wide["width"]
        await tab.ask("and now?")
        await tab.answered(2)
        await expect(tab.answers.last.locator(".text")).to_have_text("and now?")
        await expect(tab.page).not_to_have_url(first)
        await expect(tab.page.locator("#arena-a")).to_be_enabled()
        await expect(tab.textbox).to_have_attribute("placeholder", re.compile("Ask two models"))
        await expect(tab.transcript.locator(".card.error")).to_have_count(0)
        html = await tab.transcript.inner_html()
        assert [name for name in NAMES if name in html] == []
        await tab.page.go_back()
        await expect(tab.transcript).to_contain_text("You called it a tie.")


@SIZES
async def test_a_reload_and_a_second_tab_find_the_battle_and_one_vote_counts(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    for name in NAMES:
        await stack.join(name)
    async with opened(browser, stack.page, size) as tab:
        await in_arena(tab)
        await tab.ask("which?")
        await tab.answered(2)
        await tab.page.reload()
        await tab.answered(2)
        await expect(tab.page.locator("#arena-a")).to_be_enabled()
        text = await tab.transcript.inner_text()
        assert not any(name in text for name in NAMES)
        second = await tab.another()
        await second.page.goto(tab.page.url)
        await expect(second.page.locator("#arena-a")).to_be_enabled()
        await tab.page.locator("#arena-a").dblclick()
        await expect(tab.transcript).to_contain_text("You found A better.")
        await expect(second.transcript).to_contain_text("You found A better.")
        await expect(second.page.locator("#arena-b")).to_be_disabled()
        assert votes(stack) == 1


@SIZES
async def test_an_answer_that_fails_is_a_sentence_and_no_vote(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    for name in NAMES:
        await stack.join(name)
    async with opened(browser, stack.page, size) as tab:
        await in_arena(tab)
        await stack.crash(NAMES[1])
        await tab.ask("which?")
        await tab.answered(2)
        await expect(tab.transcript).to_contain_text("this battle ends without a vote")
        await expect(tab.answers.locator(".card.error")).to_contain_text(
            "This model could not answer."
        )
        assert NAMES[1] not in await tab.transcript.inner_html()
        await expect(tab.page.locator("#arena-a")).to_be_disabled()
        await expect(tab.page.locator("#arena-clear")).to_be_enabled()


def with_votes(stack: Stack) -> None:
    battles = Battles(stack.store)
    names = ("llava-v1.6-vicuna-13b", "llava-onevision-qwen2-7b-ov", "tiny")
    winners: tuple[Winner, ...] = ("a", "a", "b", "tie", "both_bad", "a")
    for number in range(60):
        pair = names[number % 3], names[(number + 1) % 3]
        tag = "chart" if number % 2 else None
        lengths = (100 + number * 7 % 90, 120)
        battle = battles.begin(f"old-{number}", pair, tag)
        battles.vote(battle, BattleVote(winner=winners[number % 6], lengths=lengths))
        if pair == names[:2] and tag is not None and number < 36:
            judged = BattleVote(winner="a", lengths=lengths, judge="a-judge")
            battles.vote(battle, judged)


@SIZES
async def test_the_leaderboard_is_split_by_task_and_takes_length_out(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    with_votes(stack)
    async with opened(browser, stack.page, size) as tab:
        await tab.page.get_by_role("tab", name="Leaderboard").click()
        board = tab.page.locator("#leaderboard")
        await expect(board).to_contain_text("60 votes")
        await expect(board.locator(".ratings tbody tr")).to_have_count(3)
        await expect(board.locator(".ratings svg")).to_have_count(3)
        heat = board.locator(".heat")
        names = await heat.locator("thead th").all_inner_texts()
        assert names == await heat.locator("tbody th").all_inner_texts()
        assert "llava-v1.6-vicuna-13b" in names and len(names) == 3
        await expect(heat.locator("tbody td.won, tbody td.lost")).to_have_count(6)
        await tab.page.get_by_label("Take out what longer answers win").check()
        await expect(board).to_contain_text("Answer length is taken out")
        await tab.page.locator("#leaderboard-task input").click()
        await tab.page.get_by_role("option", name="Chart or diagram").click()
        await expect(board).to_contain_text("30 votes")
        await tab.page.locator("#leaderboard-votes input").click()
        await tab.page.get_by_role("option", name="Those of judge models").click()
        await expect(board).to_contain_text("6 votes")
        await expect(board.locator(".ratings tbody tr")).to_have_count(2)
        await tab.page.locator("#leaderboard-votes input").click()
        await tab.page.get_by_role("option", name="All together").click()
        await expect(board).to_contain_text("36 votes")
        await tab.page.locator("#leaderboard-task input").click()
        await tab.page.get_by_role("option", name="Scene").click()
        await expect(board).to_contain_text("No votes yet")
        width = await tab.page.evaluate("document.documentElement.scrollWidth")
        assert width <= size[0]


@SIZES
async def test_axe_finds_nothing_in_either_view(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    for name in NAMES:
        await stack.join(name)
    with_votes(stack)
    async with opened(browser, stack.page, size) as tab:
        await in_arena(tab)
        await check_themes(tab)
        await tab.ask("which?")
        await tab.answered(2)
        await check_themes(tab)
        await tab.page.locator("#arena-tie").click()
        await expect(tab.transcript).to_contain_text("You called it a tie.")
        async for _ in themes(tab):
            await check(tab)
            assert await tab.page.evaluate(SMALL) == []
        await tab.page.get_by_role("tab", name="Leaderboard").click()
        await expect(tab.page.locator("#leaderboard")).to_contain_text(re.compile("61 votes"))
        async for _ in themes(tab):
            await check(tab)
            assert await tab.page.evaluate(SMALL) == []
