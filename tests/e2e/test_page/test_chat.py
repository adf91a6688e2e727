"""The chat tab in a real browser, before a real controller and real workers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from llava_serve.storage import export
from tests.chromium import Tab
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, TABS, Stack

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]

MUCH = " ".join(f"word{n}" for n in range(40))  # two seconds of an answer
LONG = "tell me " + " ".join(f"word{n}" for n in range(400))


def kept(stack: Stack) -> list[dict[str, Any]]:
    return [json.loads(line) for line in export.lines(stack.store)]


@TABS
async def test_an_answer_about_an_image_streams_in(tab: Tab, shapes: Path) -> None:
    await tab.ask(f"What colour is the circle? {MUCH} end", shapes)
    answer = tab.answers.last.locator(".text")
    await expect(answer).to_contain_text("[1 picture: 320x240] What")
    await expect(tab.stop_button).to_be_visible()
    await expect(answer).to_contain_text("word39 end")
    await tab.answered()
    image = tab.transcript.locator(".turn.user img")
    await expect(image).to_have_attribute("src", re.compile(r"^media/[0-9a-f]{64}\.png$"))
    await expect(image).to_have_js_property("naturalWidth", 320)
    await expect(tab.answers.last.locator(".facts")).to_contain_text("tokens in")
    await expect(tab.page.locator(".budget")).to_contain_text("of 4,096 tokens used")
    assert tab.foreign == []


@TABS
async def test_stop_keeps_the_text_and_frees_the_worker(tab: Tab, stack: Stack) -> None:
    await tab.ask(LONG)
    await expect(tab.answers.last.locator(".text")).to_contain_text("word3")
    assert stack.engines["echo"].running == 1
    await tab.stop_button.click()
    await tab.answered()
    assert stack.engines["echo"].running == 0
    await expect(tab.answers.last).to_contain_text("word3")
    await expect(tab.answers.last).to_contain_text("Stopped.")


@TABS
async def test_a_browser_that_leaves_in_mid_answer_finds_it_whole_in_the_database(
    tab: Tab, stack: Stack
) -> None:
    await tab.ask(f"tell me {MUCH}")
    await expect(tab.answers.last.locator(".text")).to_contain_text("word3")
    await tab.page.close()
    await stack.store.answered.wait()
    (conversation,) = kept(stack)
    assert conversation["turns"][1]["details"]["state"] == "done"
    assert conversation["turns"][1]["text"] == f"tell me {MUCH}"


async def test_a_second_question_about_the_same_image_brings_it_along(
    tab: Tab, shapes: Path
) -> None:
    await tab.ask("first", shapes)
    await tab.answered()
    await tab.ask("second")
    await expect(tab.answers).to_have_count(2)
    await expect(tab.answers.last).to_contain_text("[1 picture: 320x240] second")


@TABS
async def test_regenerate_edit_and_votes_are_kept(tab: Tab, stack: Stack, shapes: Path) -> None:
    await tab.ask(f"one {MUCH}", shapes)
    await tab.answered()
    await tab.page.click("#again")
    await tab.answered(0)
    await tab.answered(1)
    vote = tab.answers.last.locator("[data-vote=up]")
    await vote.click()
    await expect(vote).to_have_attribute("aria-pressed", "true")

    await tab.transcript.locator("[data-edit]").click()
    await expect(tab.textbox).to_have_value(f"one {MUCH}")
    await expect(tab.composer.locator(".thumbnail-item")).to_have_count(1)
    await tab.textbox.fill("two")
    await tab.textbox.press("Enter")
    await expect(tab.answers.last).to_contain_text("[1 picture: 320x240] two")
    await tab.answered()

    (conversation,) = kept(stack)
    turns = [(turn["role"], turn["text"], turn["replaced"]) for turn in conversation["turns"]]
    echoed = "[1 picture: 320x240] "
    assert turns == [
        ("user", f"one {MUCH}", True),
        ("assistant", f"{echoed}one {MUCH}", True),
        ("user", f"one {MUCH}", True),
        ("assistant", f"{echoed}one {MUCH}", True),
        ("user", "two", False),
        ("assistant", echoed + "two", False),
    ]
    assert [vote["kind"] for vote in conversation["votes"]] == ["up"]
    assert conversation["votes"][0]["turn"] == conversation["turns"][3]["id"]
    assert len({media["sha256"] for turn in conversation["turns"] for media in turn["media"]}) == 1


async def test_clear_begins_another_conversation(tab: Tab, stack: Stack) -> None:
    await tab.ask("one")
    await tab.answered()
    await tab.page.click("#clear")
    await expect(tab.transcript).to_contain_text("Ask about a picture")
    await tab.ask("two")
    await tab.answered()
    assert [len(conversation["turns"]) for conversation in kept(stack)] == [2, 2]


async def test_an_answer_cut_at_the_limit_says_so_and_goes_on(tab: Tab) -> None:
    await tab.open_parameters()
    await tab.page.get_by_label("Max tokens").first.fill("5")
    await tab.ask("one two three four five six seven")
    await expect(tab.answers.last).to_contain_text("Cut at the token limit")
    await tab.page.click("#continue")
    await expect(tab.answers.last.locator(".text")).to_have_text(
        "one two three four five six seven"
    )


@TABS
async def test_no_text_becomes_html_or_fetches_anything(tab: Tab) -> None:
    """The echo makes the user's text the model's text too."""
    attack = (
        "<img src=http://example.invalid/a.png> ![x](http://example.invalid/b.png) "
        "<script>window.broken = 1</script> [link](javascript:window.broken=1) ${1+1} {{1+1}}"
    )
    await tab.ask(attack)
    await tab.answered()
    forbidden = ".turn img, .turn script, .turn a[href^=javascript]"
    assert await tab.transcript.locator(forbidden).count() == 0
    await expect(tab.answers.last).to_contain_text("<script>window.broken = 1</script>")
    await expect(tab.answers.last).to_contain_text("${1+1} {{1+1}}")
    assert await tab.page.evaluate("window.broken") is None
    assert tab.foreign == []
