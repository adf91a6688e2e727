"""Conversations as JSON files: the native wire's messages, pictures within them as data: URIs."""

from codecs import BOM_UTF8

from pydantic import ValidationError

from llava_serve.errors import CommandError
from llava_serve.local_path import local_path
from llava_serve.protocol.openai import ChatMessage, ImagePart, VideoPart
from llava_serve.protocol.strict import Strict
from llava_serve.terminal.history import History


class Saved(Strict):
    """The file's content; `messages` and `model` make a request body as they stand."""

    model: str
    messages: list[ChatMessage]
    attached: tuple[ImagePart | VideoPart, ...] = ()


def save(file: str, model: str, history: History) -> None:
    """Write `history`; only a .json file is ever overwritten.

    Raises:
        CommandError: the file cannot be written.
    """
    saved = Saved(model=model, messages=history.messages(), attached=history.attached)
    try:
        path = local_path(file)
        if path.exists() and path.suffix != ".json":
            raise CommandError(
                f"{path} exists already, and is no .json file",
                "Choose another name; only .json files are overwritten.",
            )
        path.write_text(saved.model_dump_json(exclude_none=True, indent=1), encoding="utf-8")
    except OSError as exc:
        raise CommandError(
            f"cannot write {file}: {exc.strerror or exc}", "Choose a file you may write to."
        ) from exc


def load(file: str) -> tuple[str, History]:
    """Return the model that answered, and the conversation.

    Raises:
        CommandError: the file cannot be read, or is no saved conversation.
    """
    try:
        saved = Saved.model_validate_json(local_path(file).read_bytes().removeprefix(BOM_UTF8))
    except OSError as exc:
        raise CommandError(
            f"cannot read {file}: {exc.strerror or exc}", "Give a file that /save wrote."
        ) from exc
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise CommandError(
            f"{file} is no saved conversation ({where}: {first['msg']})",
            "Give a file that /save wrote.",
        ) from exc
    return saved.model, _history(saved, file)


def _history(saved: Saved, file: str) -> History:
    messages = saved.messages
    system = None
    if messages and messages[0].role in ("system", "developer"):
        system = "".join(part.text for part in messages[0].parts() if part.type == "text")
        messages = messages[1:]
    expected = ["user", "assistant"] * (len(messages) // 2)
    if [message.role for message in messages] != expected:
        raise CommandError(
            f"{file} does not hold questions and answers in turn",
            "Give a file that /save wrote.",
        )
    return History(system or None, tuple(messages), saved.attached)
