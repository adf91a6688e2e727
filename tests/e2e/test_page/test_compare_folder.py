"""A folder of pictures with one question, in a real browser."""

import csv
import re
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from playwright.async_api import Browser, Route, expect

from tests.chromium import opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, SIZES, Stack
from tests.e2e.test_page.test_accessibility import SCHEMES, SMALL, check, themes

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]
# Keeps how long an upload waits before it is tried again, and does not wait.
PAUSES = """
window.pauses = [];
const later = window.setTimeout;
window.setTimeout = (work, ms, ...rest) => {
  const pauses = new Error().stack.includes('at pause');
  if (pauses) window.pauses.push(ms);
  return later(work, pauses ? 0 : ms, ...rest);
};
"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures, and a file that is none."""
    made = tmp_path / "holiday"
    made.mkdir()
    for number in range(1, 7):
        Image.new("RGB", (100 + number, 80), (40 * number, 90, 200)).save(made / f"{number}.png")
    (made / "notes.txt").write_text("no picture")
    return made


@SIZES
async def test_a_folder_is_asked_about_followed_and_taken_along(
    browser: Browser,
    stack: Stack,
    folder: Path,
    tmp_path: Path,
    size: tuple[int, int],
) -> None:
    await stack.join("one", delay_s=0.02)
    await stack.join("two", delay_s=0.02)
    async with opened(browser, stack.page, size) as tab:
        page = tab.page
        await tab.compare()
        await expect(page.locator("#compare-status")).to_contain_text("2 models are served")
        await page.get_by_role("button", name="Ask about a folder of pictures").click()
        dialog = page.get_by_role("dialog", name="A folder of pictures")
        await expect(dialog.get_by_label("one")).to_be_checked()
        await expect(dialog.get_by_label("two")).to_be_checked()
        await dialog.locator("input[webkitdirectory]").set_input_files(folder)
        await expect(dialog).to_contain_text("6 pictures, 0.1 MB. Files that are no pictures: 1")
        await dialog.get_by_label("Question").fill("what is it?")
        async for theme in themes(tab):
            await check(tab)
            assert await page.evaluate(SMALL) == []
            await page.screenshot(path=tmp_path / f"ask-{size[0]}-{theme}.png")
        await dialog.get_by_role("button", name="Ask all of them").click()

        await expect(dialog.locator("tbody tr")).to_have_count(6)
        await expect(dialog).to_contain_text("12 of 12 answers are there.")
        for row, number in enumerate(range(1, 7)):
            cells = dialog.locator("tbody tr").nth(row).locator("td")
            for slot in range(2):
                said = f"[1 picture: {100 + number}x80] what is it?"
                await expect(cells.nth(slot)).to_contain_text(said)
        await expect(page).to_have_url(re.compile(r"folder=[0-9a-f]{32}"))
        async for theme in themes(tab):
            await check(tab)
            assert await page.evaluate(SMALL) == []
            assert await page.evaluate(OVERFLOW) <= 0
            await page.screenshot(path=tmp_path / f"answers-{size[0]}-{theme}.png")

        await page.reload()
        await expect(dialog).to_contain_text("12 of 12 answers are there.")
        for name, kind in (("Save as CSV", "csv"), ("Save a contact sheet", "html")):
            async with page.expect_download() as download:
                await dialog.get_by_role("link", name=name).click()
            await (await download.value).save_as(tmp_path / f"taken.{kind}")
        with (tmp_path / "taken.csv").open(encoding="utf-8-sig", newline="") as file:
            rows = [*csv.reader(file)]
        assert [row[0] for row in rows] == ["picture", *(f"{n}.png" for n in range(1, 7))]
        assert "1 picture: 103x80" in rows[3][3] and "1 picture: 103x80" in rows[3][5]
        await dialog.get_by_role("button", name="Another folder").click()
        await dialog.get_by_role("button", name="what is it? 6 pictures").click()
        await expect(dialog.locator("tbody tr")).to_have_count(6)
        await page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        await expect(page).not_to_have_url(re.compile("folder="))
        assert tab.foreign == []
    sheet = await browser.new_page(viewport={"width": size[0], "height": size[1]})
    await sheet.goto((tmp_path / "taken.html").as_uri())
    await expect(sheet.locator("article")).to_have_count(6)
    assert await sheet.locator("img").first.evaluate("one => one.naturalWidth") == 101
    for scheme in SCHEMES:
        await sheet.emulate_media(color_scheme=scheme)
        assert await sheet.evaluate(OVERFLOW) <= 0
        await sheet.screenshot(path=tmp_path / f"sheet-{size[0]}-{scheme}.png")
    await sheet.close()


@SIZES
async def test_a_run_is_stopped_gone_on_with_and_what_failed_asked_again(
    browser: Browser, stack: Stack, folder: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    slow = await stack.join("one", delay_s=0.3)
    await stack.join("two")
    async with opened(browser, f"{stack.page}/?folder=", size) as tab:
        page = tab.page
        dialog = page.get_by_role("dialog", name="A folder of pictures")
        for model in ("one", "two"):
            await expect(dialog.get_by_label(model)).to_be_checked()
        files = [folder / f"{number}.png" for number in range(1, 4)]
        await dialog.locator("input[multiple]").set_input_files(files)
        await dialog.get_by_label("Question").fill("what is it, and what is it not?")
        await dialog.get_by_role("button", name="Ask all of them").click()
        await expect(dialog).to_contain_text("3 of 6 answers are there …")
        await page.screenshot(path=tmp_path / f"running-{size[0]}.png")
        await stack.crash("two")
        await dialog.get_by_role("button", name="Stop").click()
        go_on = dialog.get_by_role("button", name="Ask for what is missing")
        await expect(go_on).to_be_visible()
        await slow.idle.wait()
        await go_on.click()
        await expect(dialog).to_contain_text("6 of 6 answers are there.")

        await dialog.get_by_role("button", name="Another folder").click()
        drop = """() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File(['x'], 'dropped.png', {type: 'image/png'}));
          document.querySelector('#folder').dispatchEvent(
            new DragEvent('drop', {dataTransfer: transfer, bubbles: true, cancelable: true}));
        }"""
        await page.evaluate(drop)
        await expect(dialog).to_contain_text("1 picture, 0.1 MB.")
        await expect(page.locator(".composer .thumbnail-item")).to_have_count(0)
        await dialog.locator("input[multiple]").set_input_files(files[:1])
        await dialog.get_by_label("Question").fill("and now?")
        await dialog.get_by_role("button", name="Ask all of them").click()
        await expect(dialog).to_contain_text("1 of 2 answers are there, 1 failed")
        failed = dialog.locator("td .card.error")
        await expect(failed).to_be_visible()
        await check(tab)
        await page.screenshot(path=tmp_path / f"failed-{size[0]}.png")
        stack.leave("two")
        await stack.join("two")
        await dialog.get_by_role("button", name="Ask again").click()
        await expect(dialog).to_contain_text("2 of 2 answers are there.")
        page.on("dialog", lambda asked: asked.accept())
        await dialog.get_by_role("button", name="Delete").click()
        await expect(dialog.get_by_label("Question")).to_be_visible()
        await expect(dialog.locator(".known")).to_have_count(1)


@SIZES
async def test_older_folders_are_found_behind_a_button(
    browser: Browser, stack: Stack, size: tuple[int, int]
) -> None:
    await stack.join("one")
    async with opened(browser, f"{stack.page}/?folder=", size) as tab:
        dialog = tab.page.get_by_role("dialog", name="A folder of pictures")
        await expect(dialog.get_by_label("one")).to_be_checked()
        asked = {"models": ["one"], "sizes": [1]}
        for number in range(52):
            data = asked | {"question": f"question {number}?"}
            answer = await tab.page.request.post(f"{stack.page}/folders", data=data)
            assert answer.status == 201
        known = dialog.locator(".known")
        await expect(known).to_have_count(50)
        await expect(dialog).not_to_contain_text("question 1?")
        await check(tab)
        await dialog.get_by_role("button", name="Show older ones").click()
        await expect(known).to_have_count(52)
        await expect(known.nth(50)).to_be_focused()
        await expect(known.nth(51)).to_contain_text("question 0?")
        await expect(dialog.get_by_role("button", name="Show older ones")).to_have_count(0)


@SIZES
async def test_why_no_picture_was_taken_is_told_and_nothing_is_left_behind(
    browser: Browser, stack: Stack, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("one")
    async with opened(browser, f"{stack.page}/?folder=", size) as tab:
        dialog = tab.page.get_by_role("dialog", name="A folder of pictures")
        await expect(dialog.get_by_label("one")).to_be_checked()
        files = [tmp_path / "a.png", tmp_path / "b.png"]
        for file in files:
            file.write_text("no picture")
        await dialog.locator("input[multiple]").set_input_files(files)
        await dialog.get_by_label("Question").fill("what is it?")
        await dialog.get_by_role("button", name="Ask all of them").click()
        told = dialog.get_by_role("alert")
        await expect(told).to_contain_text("No picture has arrived, so nothing was asked. Left out")
        for name in ("a.png", "b.png"):
            await expect(told).to_contain_text(f"{name}: '{name}' is no picture or video")
        await expect(dialog).to_contain_text("2 pictures, 0.1 MB.")
        await expect(dialog.get_by_label("Question")).to_have_value("what is it?")
        await check(tab)
        assert await tab.page.evaluate(OVERFLOW) <= 0
        await tab.page.screenshot(path=tmp_path / f"none-{size[0]}.png")
        answer = await tab.page.request.get(f"{stack.page}/folders")
        assert (await answer.json())["folders"] == []


@SIZES
async def test_a_server_without_time_is_asked_again_and_is_no_refusal(
    browser: Browser, stack: Stack, folder: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    await stack.join("one")
    tried = Counter[str]()

    async def busy(route: Route) -> None:
        (name,) = parse_qs(urlsplit(route.request.url).query)["name"]
        tried[name] += 1
        if name == "3.png" or (name == "2.png" and tried[name] < 3):
            lasts = name == "3.png"
            await route.fulfill(
                status=429 if lasts else 503,
                headers={} if lasts else {"Retry-After": "7"},
                json={"error": "I am busy."},
            )
        else:
            await route.continue_()

    async with opened(browser, "about:blank", size) as tab:
        page = tab.page
        await page.add_init_script(PAUSES)
        await page.route(re.compile(r"/folders/image\?"), busy)
        await page.goto(f"{stack.page}/?folder=")
        dialog = page.get_by_role("dialog", name="A folder of pictures")
        await expect(dialog.get_by_label("one")).to_be_checked()
        (folder / "6.png").write_text("no picture")
        files = [folder / f"{number}.png" for number in (1, 2, 3, 6)]
        await dialog.locator("input[multiple]").set_input_files(files)
        await dialog.get_by_label("Question").fill("what is it?")
        await dialog.get_by_role("button", name="Ask all of them").click()
        await expect(dialog).to_contain_text("2 of 2 answers are there.")
        told = dialog.get_by_role("alert")
        await expect(told).to_contain_text("Left out: 6.png: '6.png' is no picture or video")
        await expect(told).to_contain_text(
            "Not uploaded, and so not asked about: 3.png: I am busy."
        )
        assert tried == {"1.png": 1, "2.png": 3, "3.png": 5, "6.png": 1}
        assert sorted(await page.evaluate("window.pauses")) == [500, 1000, 2000, 4000, 7000, 7000]
        await page.screenshot(path=tmp_path / f"busy-{size[0]}.png")
