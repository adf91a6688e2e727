"""What the buttons of presets refuse is said with what to do about it."""

from pathlib import Path

import pytest

from llava_serve.errors import PresetRefused
from llava_serve.storage.identity import Identity
from llava_serve.storage.presets import Presets
from llava_serve.storage.store import Store, default_url
from llava_serve.web.parameters import Parameters
from llava_serve.web.presets.handlers import PresetHandlers

ALICE = Identity(owner="alice")


@pytest.fixture
def handlers(tmp_path: Path) -> PresetHandlers:
    store = Store(default_url(tmp_path))
    store.create_tables()
    return PresetHandlers(Presets(store), [])


@pytest.mark.parametrize("what", ["system", "seed"])
async def test_a_text_that_is_too_long_is_named(handlers: PresetHandlers, what: str) -> None:
    values = vars(Parameters()) | {what: "1" * 20_001}
    with pytest.raises(PresetRefused) as caught:
        await handlers.save(ALICE, "long", *values.values())
    assert what in caught.value.for_user
    assert "at most 20,000 characters. Shorten it" in caught.value.for_user


async def test_a_preset_of_another_tab_that_is_gone_is_looked_for_in_the_list(
    handlers: PresetHandlers,
) -> None:
    with pytest.raises(PresetRefused) as caught:
        await handlers.choose(ALICE, "gone")
    assert "in another tab. Open the list of presets" in caught.value.for_user
