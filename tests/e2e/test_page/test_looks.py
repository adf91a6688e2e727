"""The page fits its window at the width of a desk and of a phone; pictures of it are taken."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from playwright.async_api import Browser, expect

from tests.chromium import Tab, boxes_of, opened
from tests.e2e.test_page.conftest import DESK, GRADIO_AND_PANDAS, SIZES, Stack, page_served
from tests.e2e.test_page.test_languages import choose

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]


async def check_fit(tab: Tab, image: Path) -> None:
    """Nothing is wider than the window, and the composer stands inside it."""
    await tab.page.screenshot(path=image)
    width, window = await tab.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert width <= window, image.name
    box, size = await tab.composer.bounding_box(), tab.page.viewport_size
    assert box is not None and size is not None
    assert box["y"] >= 0 and box["y"] + box["height"] <= size["height"], image.name


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
async def test_everything_fits_its_window(
    browser: Browser, stack: Stack, shapes: Path, tmp_path: Path, width: int, height: int
) -> None:
    await stack.join("llava-tiny", delay_s=0.01)
    await stack.join("llava-tiny-one-word", delay_s=0.02)
    long_word = "unbreakable" * 40
    async with opened(browser, stack.page, (width, height)) as tab:
        await expect(tab.transcript.locator(".example")).to_be_visible()
        await expect(tab.page.locator("#chat-status")).to_contain_text("2 models")
        await check_fit(tab, tmp_path / f"empty-{width}.png")

        await tab.ask(f"What colour is the circle? {long_word}", shapes)
        await tab.answered()
        await check_fit(tab, tmp_path / f"chat-{width}.png")

        await tab.compare()
        await tab.ask("| a | b |\n|---|---|\n| 1 | 2 | and `code` as well", shapes)
        await tab.answered(2)
        await check_fit(tab, tmp_path / f"compare-{width}.png")

        await stack.crash("llava-tiny-one-word")
        await tab.ask("is the second model still there?")
        await tab.answered(4)
        await check_fit(tab, tmp_path / f"error-{width}.png")


async def test_examples_that_do_not_fit_the_start_page_are_below_its_head(
    browser: Browser, stack: Stack, shapes: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "other" / "examples"
    folder.mkdir(parents=True)
    shutil.copy(shapes, folder)
    row = {"files": [shapes.name], "question": "How many shapes are there?", "answer": "Two."}
    (folder / "examples.json").write_text(json.dumps([row] * 12))
    async with (
        page_served(stack.controller, folder.parent) as (page, _),
        opened(browser, page, (390, 844)) as tab,
    ):
        await expect(tab.transcript.locator(".example")).to_have_count(12)
        await stack.join("echo")
        await expect(tab.page.locator("#chat-status")).to_contain_text("1 model")
        hidden, above = await tab.transcript.evaluate(
            "box => [box.scrollHeight - box.clientHeight, box.scrollTop]"
        )
        assert hidden > 0
        assert above == 0


RIGHT = "one => one.getBoundingClientRect().right"


def wide(folder: Path) -> Path:
    """Three times as wide as high."""
    Image.new("RGB", (900, 300), "teal").save(folder / "wide.png")
    return folder / "wide.png"


@SIZES
async def test_a_wide_picture_ends_where_its_question_ends(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, stack.page, size) as tab:
        await expect(tab.model).to_have_value("echo")
        await tab.ask("how many?", wide(tmp_path))
        await tab.answered()
        picture = await tab.transcript.locator(".turn.user img").evaluate(RIGHT)
        assert abs(picture - await tab.transcript.locator(".said").evaluate(RIGHT)) < 2


@SIZES
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_a_picture_in_the_box_is_seen_whole_and_has_an_edge(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int], theme: str
) -> None:
    await stack.join("echo")
    async with opened(browser, f"{stack.page}/?__theme={theme}", size) as tab:
        await expect(tab.model).to_have_value("echo")
        await tab.composer.locator("input[type=file]").set_input_files([wide(tmp_path)])
        thumbnail = tab.composer.locator(".thumbnail-item")
        await expect(thumbnail.locator("img")).to_have_css("object-fit", "contain")
        await expect(thumbnail).to_have_css("border-top-width", "1px")
        await thumbnail.hover()
        covered, remove = await thumbnail.evaluate(
            """item => {
              const [all, one] = [item, item.querySelector('.delete-button')]
                .map((element) => element.getBoundingClientRect());
              const width = Math.min(all.right, one.right) - Math.max(all.left, one.left);
              const height = Math.min(all.bottom, one.bottom) - Math.max(all.top, one.top);
              return [width * height / (all.width * all.height), Math.min(one.width, one.height)];
            }"""
        )
        assert covered < 0.15 and remove >= 24
        await tab.page.screenshot(path=tmp_path / "thumbnail.png")
        await thumbnail.locator(".delete-button").click()
        await expect(thumbnail).to_have_count(0)


@SIZES
@pytest.mark.parametrize("tag", ["en", "zh"])
async def test_votes_stand_in_the_order_of_the_answers_on_a_phone_in_two_even_columns(
    browser: Browser, stack: Stack, tmp_path: Path, tag: str, size: tuple[int, int]
) -> None:
    await stack.join("one")
    await stack.join("two")
    async with opened(browser, stack.page, size) as tab:
        if tag != "en":
            await choose(tab.page, tag)
        for name, votes in (
            ("compare", ("#better-A", "#better-B", "#vote-tie", "#vote-both-bad")),
            ("arena", ("#arena-a", "#arena-b", "#arena-tie", "#arena-both-bad")),
        ):
            await tab.page.locator(f"#{name}-tab-button").click()
            await expect(tab.page.locator(votes[3])).to_be_visible()
            await tab.page.screenshot(path=tmp_path / f"votes-{name}-{tag}-{size[0]}.png")
            a, b, tie, bad = await boxes_of(tab.page.locator("body"), *votes)
            if size == DESK:
                assert a["x"] < b["x"] < tie["x"] < bad["x"]
                assert a["y"] == b["y"] == tie["y"] == bad["y"]
                continue
            assert a["x"] == tie["x"] < b["x"] == bad["x"]
            assert a["y"] == b["y"] < tie["y"] == bad["y"]
            assert max(box["width"] for box in (a, b, tie, bad)) - a["width"] < 1
            assert max(box["height"] for box in (a, b, tie, bad)) - a["height"] < 1


# The colour of what a slider has not reached, as (red, green, blue).
REST = """
range => getComputedStyle(range).getPropertyValue('--neutral-200').match(/[0-9a-f]{2}/g)
  .map((part) => parseInt(part, 16))
"""


@SIZES
async def test_each_parameter_is_explained_beneath_its_name(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("echo")
    async with opened(browser, f"{stack.page}/?__theme=dark", size) as tab:
        await tab.open_parameters()
        panel = tab.page.locator("#chat-tab .parameters")
        for name, said in (
            ("Temperature", "0 always takes the likeliest"),
            ("Top p", "1 leaves all in"),
            ("Max tokens", "A token is a short word or a part of one"),
            ("Seed", "answered the same way again"),
        ):
            label = panel.locator("label", has_text=name).first
            await expect(label).to_contain_text(said)
        await panel.screenshot(path=tmp_path / f"parameters-{size[0]}.png")
        for head in await panel.locator(".head").all():
            beside, beneath = await boxes_of(head, "[data-testid=number-input]", ".info-text")
            assert beneath["y"] >= beside["y"] + beside["height"] and beneath["width"] > 180
        rest = await panel.locator("input[type=range]").first.evaluate(REST)
        assert max(rest) < 130  # dark, as the page is
