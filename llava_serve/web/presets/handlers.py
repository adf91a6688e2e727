"""Handlers of presets: what its buttons do, for the user or browser that presses them."""

import asyncio
from typing import Any

import gradio as gr

from llava_serve.errors import PresetTooLong, PresetUnknown
from llava_serve.storage.identity import Identity
from llava_serve.storage.presets import Presets, checked_name
from llava_serve.web.event_binder import View
from llava_serve.web.parameters import Parameters, shown
from llava_serve.web.translations.language import translate

_MOST_CHARACTERS = 20_000  # of a text that is saved


class PresetHandlers:
    """Each returns updates of the controls; `values` are those of `Parameters`, in its order."""

    def __init__(self, presets: Presets, parameter_names: list[str]) -> None:
        self._presets = presets
        self._parameter_names = parameter_names

    async def refresh(self, whose: Identity) -> View:
        """Offer the presets as they are by now; another tab may have changed them."""
        names = await asyncio.to_thread(self._presets.names, whose)
        return {"preset": gr.update(choices=names)}

    async def choose(self, whose: Identity, name: str | None) -> View:
        """Fill the parameters with what was saved under a name."""
        kept = await asyncio.to_thread(self._presets.parameters, whose, name or "")
        if kept is None:
            raise PresetUnknown("this preset was deleted or renamed in another tab")
        values = shown(Parameters.restored(kept))
        return {"name": name, "said": "", **dict(zip(self._parameter_names, values, strict=True))}

    async def save(self, whose: Identity, name: str, *values: Any) -> View:
        """Save the parameters as they are, in place of what has the name already."""
        parameters = Parameters(*values)
        for what, text in (("a system prompt", parameters.system), ("a seed", parameters.seed)):
            if len(text) > _MOST_CHARACTERS:
                raise PresetTooLong(what, _MOST_CHARACTERS)
        await asyncio.to_thread(self._presets.save, whose, name, parameters.kept())
        said = translate("presets.saved", name=checked_name(name))
        return await self._view(whose, checked_name(name), said)

    async def rename(self, whose: Identity, chosen: str | None, name: str) -> View:
        """Give the chosen preset the name that is typed."""
        await asyncio.to_thread(self._presets.rename, whose, chosen or "", name)
        said = translate("presets.renamed", name=checked_name(name))
        return await self._view(whose, checked_name(name), said)

    async def delete(self, whose: Identity, chosen: str | None) -> View:
        """Delete the chosen preset; the parameters stay as they are, to be saved again."""
        await asyncio.to_thread(self._presets.delete, whose, chosen or "")
        return await self._view(whose, None, translate("presets.deleted", name=chosen))

    async def _view(self, whose: Identity, chosen: str | None, said: str) -> View:
        names = await asyncio.to_thread(self._presets.names, whose)
        return {"preset": gr.update(choices=names, value=chosen), "said": said}
