"""Files for a question: judged by content before they are uploaded, taken anywhere on the page."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Browser, expect

from tests.chromium import Tab, opened
from tests.e2e.test_page.conftest import GRADIO_AND_PANDAS, Stack

pytestmark = [pytest.mark.slow, GRADIO_AND_PANDAS]

SIZES = [pytest.param((1280, 800), id="1280"), pytest.param((390, 844), id="390")]
# What a browser does when a file is dragged over an element, let go there, or pasted there.
SEND_FILE = """
([name, data, selector, events]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  const target = selector ? document.querySelector(selector) : document.activeElement;
  const common = {bubbles: true, cancelable: true};
  return events.map((event) => target.dispatchEvent(event === 'paste'
    ? new ClipboardEvent(event, {...common, clipboardData: transfer})
    : new DragEvent(event, {...common, dataTransfer: transfer})));
}
"""


# The same, until all of it has been done.
ATTACH_FILE = """
([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return window.attachFiles(document.querySelector('#chat-composer'), [new File([bytes], name)]);
}
"""


@pytest_asyncio.fixture(params=SIZES, loop_scope="session")
async def sized(
    request: pytest.FixtureRequest, stack: Stack, browser: Browser
) -> AsyncIterator[Tab]:
    """A tab of each width, on a stack whose only model is `echo`."""
    await stack.join("echo", delay_s=0.01)
    async with opened(browser, stack.page, request.param) as one:
        await expect(one.model).to_have_value("echo")
        yield one


async def send(tab: Tab, file: Path, selector: str | None, *events: str) -> list[bool]:
    data = base64.b64encode(file.read_bytes()).decode()  # noqa: ASYNC240
    return list(await tab.page.evaluate(SEND_FILE, [file.name, data, selector, list(events)]))


async def choose(tab: Tab, *files: Path) -> None:
    await tab.page.locator(f"#{tab.name}-composer input[type=file]").set_input_files(list(files))


def renamed(image: Path, name: str) -> Path:
    return image.rename(image.with_name(name))


def mpo(folder: Path) -> Path:
    """Two pictures in one file, as cameras with two lenses write them."""
    one, other = Image.new("RGB", (32, 24), "red"), Image.new("RGB", (32, 24), "blue")
    one.save(folder / "camera.mpo", format="MPO", save_all=True, append_images=[other])
    return folder / "camera.mpo"


@pytest.mark.parametrize("name", ["photo", "photo.txt", "IMG_0001.MOV", "clip.3gp"])
async def test_an_image_is_taken_whatever_it_is_called(sized: Tab, shapes: Path, name: str) -> None:
    await sized.ask("what?", renamed(shapes, name))
    await expect(sized.answers.last.locator(".text")).to_contain_text("[1 picture: 320x240] what?")
    await expect(sized.page.locator(".toast-body")).to_have_count(0)


async def test_an_image_of_two_lenses_is_taken(sized: Tab, tmp_path: Path) -> None:
    await sized.ask("what?", mpo(tmp_path))
    await expect(sized.answers.last.locator(".text")).to_contain_text("[1 picture: 32x24] what?")


async def test_what_is_no_image_is_refused_when_it_is_attached(sized: Tab, tmp_path: Path) -> None:
    fake = tmp_path / "page.png"
    fake.write_text("<html>not a picture</html>")
    await choose(sized, fake)
    card = sized.page.locator(".refusals .card.error")
    await expect(card).to_contain_text("'page.png' is no picture or video")
    await expect(card).to_contain_text("HTML")
    await expect(card).to_be_in_viewport(ratio=1)
    await expect(sized.textbox).to_be_in_viewport(ratio=1)
    await expect(sized.composer.locator(".thumbnail-item")).to_have_count(0)
    await expect(sized.page.locator(".toast-body")).to_have_count(0)


async def test_a_question_whose_image_was_refused_is_not_sent_without_it(
    sized: Tab, tmp_path: Path
) -> None:
    fake = tmp_path / "page.png"
    fake.write_text("<html>not a picture</html>")
    await choose(sized, fake)
    await sized.textbox.fill("what is this?")
    await sized.textbox.press("Enter")  # perhaps before the file is judged
    await expect(sized.page.locator(".unsent")).to_have_text("Your question was not sent.")
    await sized.composer.locator("button.submit-button").click()
    await expect(sized.transcript.locator(".turn")).to_have_count(0)
    await expect(sized.textbox).to_have_value("what is this?")
    await sized.page.get_by_role("button", name="Send it without").click()
    await sized.answered()
    await expect(sized.answers.last.locator(".text")).to_have_text("what is this?")
    await expect(sized.page.locator(".refusals .card")).to_have_count(0)


async def refused(tab: Tab, folder: Path) -> None:
    (folder / "notes.txt").write_text("not a picture")
    await choose(tab, folder / "notes.txt")
    await expect(tab.page.locator(".refusals .card.error")).to_have_count(1)


async def test_the_card_of_a_refusal_can_be_closed_and_frees_the_question(
    sized: Tab, tmp_path: Path
) -> None:
    await sized.textbox.fill("what is this?")
    await refused(sized, tmp_path)
    await sized.textbox.press("Enter")
    await expect(sized.page.locator(".unsent")).to_have_text("Your question was not sent.")
    close = sized.page.locator("#chat-composer-refusals").get_by_role("button", name="Close")
    box = await close.bounding_box()
    assert box is not None and min(box["width"], box["height"]) >= 24
    await close.click()
    await expect(sized.page.locator(".refusals .card")).to_have_count(0)
    await expect(sized.textbox).to_be_focused()
    await expect(sized.transcript.locator(".turn")).to_have_count(0)
    await sized.textbox.press("Enter")
    await expect(sized.answers.last.locator(".text")).to_have_text("what is this?")


async def test_clear_takes_a_refusal_away(sized: Tab, tmp_path: Path) -> None:
    await sized.ask("hello")
    await sized.answered()
    await refused(sized, tmp_path)
    await sized.page.click("#clear")
    await expect(sized.page.locator(".refusals .card")).to_have_count(0)
    await expect(sized.transcript.locator(".turn")).to_have_count(0)
    await sized.ask("hello again")
    await expect(sized.answers.last.locator(".text")).to_have_text("hello again")


async def test_another_file_makes_good_for_the_one_that_was_refused(
    sized: Tab, shapes: Path, tmp_path: Path
) -> None:
    fake = tmp_path / "page.png"
    fake.write_text("<html>not a picture</html>")
    await choose(sized, fake, shapes)
    await expect(sized.composer.locator(".thumbnail-item")).to_have_count(1)
    await expect(sized.page.locator(".refusals .card.error")).to_have_count(1)
    await sized.textbox.fill("what?")
    await sized.textbox.press("Enter")
    await expect(sized.page.locator(".unsent")).to_have_text("Your question was not sent.")
    await choose(sized, shapes)  # and so the question goes, with both
    await expect(sized.answers.last.locator(".text")).to_contain_text("[2 pictures")


async def test_a_question_waits_for_its_image(sized: Tab, shapes: Path) -> None:
    held = sized.page.expect_request("**/gradio_api/upload*")
    await sized.page.route("**/gradio_api/upload*", lambda route: route.abort())
    async with held:
        await choose(sized, shapes)
    await sized.textbox.fill("what?")
    await sized.textbox.press("Enter")
    card = sized.page.locator(".refusals .card.error")
    await expect(card).to_contain_text("The upload did not succeed")
    await expect(sized.page.locator(".unsent")).to_have_text("Your question was not sent.")
    await expect(card).to_be_in_viewport(ratio=1)
    await expect(sized.transcript.locator(".turn")).to_have_count(0)


async def test_limits_of_number_and_size_are_said_when_attaching(
    sized: Tab, tmp_path: Path
) -> None:
    files = []
    for number in range(17):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / f"{number}.png")
        files.append(tmp_path / f"{number}.png")
    await choose(sized, *files)
    card = sized.page.locator(".refusals .card.error")
    await expect(card).to_contain_text("17 files are attached to one question; at most 16 can be")
    large = tmp_path / "large.png"
    large.write_bytes(files[0].read_bytes() + bytes(20_000_000))
    await choose(sized, large)
    await expect(card).to_contain_text("'large.png' has 20.0 MB; the limit is 20.0 MB")
    await expect(card).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("target", ["footer.page", "#chat-transcript", "#chat-composer textarea"])
async def test_a_file_can_be_dropped_anywhere(sized: Tab, shapes: Path, target: str) -> None:
    veil = sized.page.locator(".drop-veil")
    allowed = await send(sized, shapes, target, "dragenter", "dragover")
    assert allowed == [False, False]  # so the browser lets it be dropped there
    await expect(veil).to_contain_text("Drop pictures")
    await expect(veil).to_be_in_viewport(ratio=1)
    assert await send(sized, shapes, target, "drop") == [False]  # and does not open it
    await expect(veil).to_have_count(0)
    await expect(sized.composer.locator(".thumbnail-item")).to_have_count(1)
    await expect(sized.textbox).to_be_focused()


async def test_a_file_goes_to_the_tab_that_is_seen(sized: Tab, shapes: Path) -> None:
    await sized.compare()
    await send(sized, shapes, "body", "dragenter", "dragover", "drop")
    await expect(sized.composer.locator(".thumbnail-item")).to_have_count(1)
    await expect(sized.page.locator("#chat-composer .thumbnail-item")).to_have_count(0)


async def test_an_image_can_be_pasted_without_the_focus(sized: Tab, shapes: Path) -> None:
    assert await sized.page.evaluate("document.activeElement === document.body")
    await send(sized, shapes, None, "paste")
    await expect(sized.composer.locator(".thumbnail-item")).to_have_count(1)
    await send(sized, shapes, "#chat-composer textarea", "paste")
    await expect(sized.composer.locator(".thumbnail-item")).to_have_count(2)


async def test_after_a_file_the_question_is_typed(sized: Tab, shapes: Path) -> None:
    items, elsewhere = sized.composer.locator(".thumbnail-item"), sized.model
    await choose(sized, shapes)
    await expect(items).to_have_count(1)
    await expect(sized.textbox).to_be_focused()
    await sized.page.keyboard.type("what?")
    await expect(sized.textbox).to_have_value("what?")
    await expect(sized.page.locator("#shortcuts")).to_be_hidden()
    await elsewhere.focus()
    data = base64.b64encode(shapes.read_bytes()).decode()  # noqa: ASYNC240
    await sized.page.evaluate(ATTACH_FILE, [shapes.name, data])
    await expect(items).to_have_count(2)
    assert await elsewhere.evaluate("field => field === document.activeElement")


async def test_without_its_server_the_page_says_that_nothing_was_attached(
    sized: Tab, shapes: Path
) -> None:
    await sized.page.route("**/attach", lambda route: route.abort())
    await choose(sized, shapes)
    card = sized.page.locator(".refusals .card.error")
    await expect(card).to_contain_text("cannot reach its server")
    await expect(card).to_be_in_viewport(ratio=1)


async def test_a_finger_can_take_a_file_away(
    browser: Browser, stack: Stack, shapes: Path, tmp_path: Path
) -> None:
    """Nothing hovers over a screen that is touched."""
    await stack.join("echo")
    phone = await browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    tab = Tab(await phone.new_page(), [])
    await tab.page.goto(stack.page)
    await tab.page.locator("#chat-composer input[type=file]").set_input_files([shapes])
    remove = tab.composer.locator(".thumbnail-item .delete-button")
    await expect(remove).to_have_css("opacity", "1")
    await expect(tab.textbox).not_to_be_focused()  # its keyboard would hide the page
    await tab.page.screenshot(path=tmp_path / "attached-touch.png")
    await remove.tap()
    await expect(tab.composer.locator(".thumbnail-item")).to_have_count(0)
    await phone.close()
