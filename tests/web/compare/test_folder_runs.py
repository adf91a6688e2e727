"""Folder runs without their routes: what is asked of whom, and what waits for what."""

import pytest

from llava_serve.errors import BlindModelChosen
from llava_serve.storage.identity import Identity
from llava_serve.web.chat_service import Services
from llava_serve.web.compare.folder_runs import FolderRuns
from llava_serve.web.parameters import Parameters

ALICE = Identity(owner="alice")


async def nothing_unused(filenames: set[str]) -> None:
    raise AssertionError(f"somebody uses {filenames}")


async def begun(services: Services) -> tuple[FolderRuns, str]:
    runs = FolderRuns(services, nothing_unused)
    return runs, await runs.begin(ALICE, "what is it?", ["echo"], Parameters(), [100])


@pytest.mark.parametrize("blind", [{"accepts_images": False}, {"sees": False}])
async def test_a_model_that_cannot_see_is_refused_though_it_is_named(
    services: Services, blind: dict[str, bool]
) -> None:
    services.link.cards = tuple(card.model_copy(update=blind) for card in services.link.cards)
    with pytest.raises(BlindModelChosen) as caught:
        await begun(services)
    assert "cannot see pictures: echo. Choose among the models" in caught.value.for_user
