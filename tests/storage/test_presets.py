"""Presets are kept by name for their user or browser, and nobody else has anything of them."""

from pathlib import Path

import pytest

from llava_serve.errors import (
    NoCookies,
    PresetNameRefused,
    PresetNameTaken,
    PresetUnknown,
    TooManyPresets,
)
from llava_serve.storage import presets as presets_module
from llava_serve.storage.identity import NOBODY, Identity
from llava_serve.storage.preset_tables import LONGEST_NAME
from llava_serve.storage.presets import Presets
from llava_serve.storage.store import Store, default_url

ALICE, BOB, BROWSER = Identity(owner="alice"), Identity(owner="bob"), Identity(browser="b" * 64)
WARM = {"temperature": 1.0, "system": "Be brief."}


@pytest.fixture
def presets(tmp_path: Path) -> Presets:
    store = Store(default_url(tmp_path))
    store.create_tables()
    return Presets(store)


def test_a_preset_is_saved_overwritten_renamed_and_deleted(presets: Presets) -> None:
    presets.save(ALICE, " my  warm ", WARM)
    presets.save(ALICE, "cold", {"temperature": 0.0})
    assert presets.names(ALICE) == ["cold", "my warm"]
    presets.save(ALICE, "my warm", {"temperature": 2.0})
    assert presets.parameters(ALICE, "my warm") == {"temperature": 2.0}
    presets.rename(ALICE, "my warm", "hot")
    presets.rename(ALICE, "hot", "hot")  # changes nothing
    assert presets.names(ALICE) == ["cold", "hot"]
    with pytest.raises(PresetNameTaken, match="another preset is called 'hot'"):
        presets.rename(ALICE, "cold", "hot")
    presets.delete(ALICE, "hot")
    with pytest.raises(PresetUnknown, match="no preset is called 'hot'"):
        presets.delete(ALICE, "hot")
    assert presets.names(ALICE) == ["cold"]


@pytest.mark.parametrize("other", [BOB, BROWSER, NOBODY, Identity(browser="alice")])
def test_what_is_somebody_elses_is_as_if_it_were_not_there(
    presets: Presets, other: Identity
) -> None:
    presets.save(ALICE, "warm", WARM)
    assert presets.names(other) == []
    assert presets.parameters(other, "warm") is None
    with pytest.raises(PresetUnknown):
        presets.rename(other, "warm", "mine")
    with pytest.raises(PresetUnknown):
        presets.delete(other, "warm")
    if other != NOBODY:
        presets.save(other, "warm", {})
    assert presets.parameters(ALICE, "warm") == WARM


def test_a_browser_without_cookies_is_told_why_nothing_is_saved(presets: Presets) -> None:
    with pytest.raises(NoCookies, match="keeps no cookies"):
        presets.save(NOBODY, "warm", WARM)


@pytest.mark.parametrize("name", ["", "  ", "x" * (LONGEST_NAME + 1), "a\0b", "a\u202eb"])
def test_a_name_that_cannot_be_one_is_refused(presets: Presets, name: str) -> None:
    with pytest.raises(PresetNameRefused):
        presets.save(ALICE, name, WARM)
    presets.save(ALICE, "warm", WARM)
    with pytest.raises(PresetNameRefused):
        presets.rename(ALICE, "warm", name)


def test_presets_are_bounded_and_those_that_are_there_can_be_saved_again(
    presets: Presets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presets_module, "MOST", 2)
    for name in ("a", "b"):
        presets.save(ALICE, name, WARM)
    with pytest.raises(TooManyPresets, match="no more can be"):
        presets.save(ALICE, "c", WARM)
    presets.save(ALICE, "b", {})
    presets.save(BOB, "c", WARM)
