"""An exam as files: questions and media that `llava_serve.evaluate --task jsonl` asks a server."""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image

from scripts.tiny.dialogue import Dialogue, Medium
from scripts.tiny.exam import draw_exam, kind_of, removed
from scripts.tiny.second_exam import draw_second_exam
from scripts.tiny.tokenizer import messages

QUESTIONS = "questions.jsonl"
_MEDIA = "media"
_FRAMES_PER_S = 4


def write_exam(exam: Sequence[Dialogue], folder: Path, *, one_word: bool = False) -> None:
    """Write `questions.jsonl` and, without loss, the pictures and videos that it names.

    With `one_word` the right answers are those of the one-word adapter.
    """
    (folder / _MEDIA).mkdir(parents=True, exist_ok=True)
    with (folder / QUESTIONS).open("w", encoding="utf-8") as file:
        for i, dialogue in enumerate(exam):
            media = [
                _saved(shown, folder, f"{_MEDIA}/{i:05}-{j}")
                for j, shown in enumerate(dialogue.shown)
            ]
            turn = dialogue.exchanges[-1].turn
            line = {
                "id": f"{i:05}",
                "kind": kind_of(dialogue),
                "messages": _with_names(dialogue, iter(media)),
                "answer": turn.word if one_word else turn.answer,
            }
            file.write(json.dumps(line) + "\n")


def _with_names(dialogue: Dialogue, media: Iterator[str]) -> list[dict[str, object]]:
    """Return the messages up to the last question, each medium a file."""
    said = messages(dialogue, len(dialogue.exchanges) - 1)
    for message in said:
        parts = message["content"]
        for part in parts if isinstance(parts, list) else []:
            if part["type"] != "text":
                part[part["type"]] = next(media)
    return said


def _saved(shown: Medium, folder: Path, stem: str) -> str:
    images = [drawn.image for drawn in shown.images]
    if shown.is_video:
        name = f"{stem}.mkv"
        save_video(images, folder / name)
    else:
        name = f"{stem}.png"
        images[0].save(folder / name)
    return name


def save_video(frames: Sequence[Image.Image], path: Path) -> None:
    """Encode frames of one size as FFV1 in Matroska, which keeps every pixel."""
    with av.open(path, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=_FRAMES_PER_S)
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "bgr0"
        for image in frames:
            frame = av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="bgr0")))
        container.mux(stream.encode())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder to write to")
    parser.add_argument("--questions", type=int, default=1500, help="in all, shared by the kinds")
    parser.add_argument("--seed", type=int, default=1, help="of the exam")
    parser.add_argument(
        "--second-painter", action="store_true", help="pictures and questions by other code"
    )
    parser.add_argument(
        "--one-word", action="store_true", help="right answers are those of the one-word adapter"
    )
    parser.add_argument(
        "--without-pictures", action="store_true", help="ask blindly: what is right can be guessed"
    )
    options = parser.parse_args()
    draw = draw_second_exam if options.second_painter else draw_exam
    exam = draw(options.questions, options.seed)
    if options.without_pictures:
        exam = [removed(dialogue) for dialogue in exam]
    write_exam(exam, options.folder, one_word=options.one_word)


if __name__ == "__main__":
    main()
