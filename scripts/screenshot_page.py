"""Take the README's pictures, those in scripts/screenshots, of servers that run.

The servers need two models that see; one vote is given in the arena.
"""

import argparse
import asyncio
import shutil
import sys
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright, expect

_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
_PATIENCE_MS = 120_000


async def ask(page: Page, tab: str, picture: Path | None, question: str, answers: int) -> None:
    """Send one question on the tab `chat`, `compare` or `arena`; wait until all answers ended."""
    composer = page.locator(f"#{tab}-composer")
    if picture is not None:
        await composer.locator("input[type=file]").set_input_files(picture)
        await expect(composer.locator(".thumbnail-item")).to_have_count(1)
    await composer.locator("textarea").fill(question)
    await composer.locator("textarea").press("Enter")
    await expect(page.locator(f"#{tab}-history .turn.assistant")).to_have_count(answers)
    await expect(composer.locator("button.submit-button")).to_be_visible()


async def screenshots(
    browser: Browser, url: str, picture: Path, questions: list[str], folder: Path
) -> None:
    page = await browser.new_page(viewport={"width": 1280, "height": 960})
    await page.goto(url)
    await expect(page.locator("#chat-model input")).not_to_have_value("")
    for number, question in enumerate(questions):
        await ask(page, "chat", None if number else picture, question, number + 1)
    await expect(page.get_by_role("button", name="Clear")).to_be_enabled()
    await page.screenshot(path=folder / "chat.png", animations="disabled")
    await page.locator("#chat-transcript [data-inspect]").first.click()
    await expect(page.locator("#saw .strip figure").first).to_be_visible()
    await page.screenshot(path=folder / "saw.png", animations="disabled")
    await page.locator("#saw .close").click()
    await page.get_by_role("tab", name="Compare").click()
    await ask(page, "compare", picture, questions[0], 2)
    await page.screenshot(path=folder / "compare.png", animations="disabled")
    await page.get_by_role("tab", name="Arena").click()
    await ask(page, "arena", picture, questions[0], 2)
    await page.locator("#arena-tie").click()
    await expect(page.locator("#arena-transcript .outcome")).to_be_visible()
    await page.screenshot(path=folder / "arena.png", animations="disabled")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path, help="picture to ask about")
    parser.add_argument(
        "questions", nargs="+", help="asked one after the other in the chat; the first is compared"
    )
    parser.add_argument("--url", default="http://127.0.0.1:7860", help="address of the page")
    parser.add_argument(
        "--folder", type=Path, default=Path("scripts/screenshots"), help="where the pictures go"
    )
    asked = parser.parse_args()
    if not asked.picture.is_file():
        sys.exit(f"there is no picture at {asked.picture}")
    asked.folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=_PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=_ARGUMENTS
        )
        await screenshots(browser, asked.url, asked.picture, asked.questions, asked.folder)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
