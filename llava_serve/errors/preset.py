"""Preset errors: why a preset is not saved, renamed, deleted or chosen, and what to do instead."""

from llava_serve.errors.base import BadRequest


class PresetRefused(BadRequest):
    """A preset cannot be saved, renamed, deleted or chosen; each reason has a class."""

    code = "preset_refused"
    remedy = "Choose another preset."
    user_remedy = remedy
    quotes_user = True


class PresetUnknown(PresetRefused):
    """There is no such preset, or none is named."""

    code = "preset_unknown"
    remedy = "Open the list of presets, and choose one that is there."
    user_remedy = remedy


class PresetNameRefused(PresetRefused):
    """The name is none, or cannot be shown in a list."""

    code = "preset_name_refused"
    remedy = "Type a name, or correct it; then press the button again."
    user_remedy = remedy


class PresetNameTaken(PresetRefused):
    """Another preset has the name that one is to get."""

    code = "preset_name_taken"
    remedy = "Type a name that is free, or delete the preset that has this one."
    user_remedy = remedy


class PresetTooLong(PresetRefused):
    """A parameter is longer than what a preset keeps."""

    code = "preset_too_long"
    remedy = "Shorten it, then save again."
    user_remedy = remedy

    def __init__(self, what: str, most: int) -> None:
        super().__init__(f"{what} that is saved has at most {most:,} characters")


class TooManyPresets(PresetRefused):
    """A user or browser has as many as the page keeps for one."""

    code = "too_many_presets"
    remedy = "Delete one that is no longer needed, or save under the name of one that may go."
    user_remedy = remedy

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} presets are saved, and no more can be")
