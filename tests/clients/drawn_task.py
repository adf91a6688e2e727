"""Task of lmms-eval in a folder: drawn circles, questions of yes or no, and lmms-eval's metrics.

The data set is a folder of pictures with a `metadata.jsonl`, which needs no hub; how documents are
read and scored are lmms-eval's own functions of POPE.
"""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from PIL import Image, ImageDraw

_COLORS = {"red": "#dc2828", "green": "#28a03c", "blue": "#2850dc", "yellow": "#f0c828"}
_METRICS = ("accuracy", "precision", "recall", "f1_score", "yes_ratio")
_METRIC = """\
  - metric: pope_{name}
    aggregation: !function utils.pope_aggregate_{name}
    higher_is_better: true
"""
_TASK = """\
task: {name}
dataset_path: imagefolder
dataset_kwargs:
  data_dir: {data}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.pope_doc_to_visual
doc_to_text: !function utils.pope_doc_to_text
doc_to_target: answer
process_results: !function utils.pope_process_results
generation_kwargs:
  max_new_tokens: 16
  temperature: 0
  top_p: 1.0
  num_beams: 1
  do_sample: false
metric_list:
{metrics}lmms_eval_specific_kwargs:
  default:
    pre_prompt: ""
    post_prompt: ""
metadata:
  version: 0.0
"""
_GROUP = """\
group: {name}
task: [{tasks}]
aggregate_metric_list:
  - metric: pope_accuracy
    aggregation: mean
    weight_by_size: true
metadata:
  version: 0.0
"""


def write_task(folder: Path, name: str, documents: int, *, too_long: int | None = None) -> None:
    """Write a task; the question of the document `too_long` is longer than the context."""
    data = folder / "data" / name  # lmms-eval takes a folder of the name for one of tasks
    (data / "test").mkdir(parents=True)
    lines = []
    for number, (line, image) in enumerate(_documents(documents)):
        image.save(data / "test" / line["file_name"])
        words = " and again".join([line["question"]] * (3000 if number == too_long else 1))
        lines.append(json.dumps({**line, "question": words}) + "\n")
    (data / "test" / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
    metrics = "".join(_METRIC.format(name=metric) for metric in _METRICS)
    task = _TASK.format(name=name, data=data, metrics=metrics)
    (folder / f"{name}.yaml").write_text(task, encoding="utf-8")
    (folder / "utils.py").write_text("from lmms_eval.tasks.pope.utils import *\n", encoding="utf-8")


def write_variant(folder: Path, name: str, *lines: str) -> None:
    """Write a task that is `drawn` but for some lines."""
    text = "\n".join([f"task: {name}", "include: drawn.yaml", *lines, ""])
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def write_group(folder: Path, name: str, *tasks: str) -> None:
    """Write a group of tasks, with their mean accuracy."""
    group = _GROUP.format(name=name, tasks=", ".join(tasks))
    (folder / f"{name}.yaml").write_text(group, encoding="utf-8")


def _documents(count: int) -> Iterator[tuple[dict[str, str], Image.Image]]:
    """Yield documents with their pictures; every second answer is yes."""
    places = product(range(18, 50, 8), range(18, 50, 8), _COLORS)
    for number, (left, top, color) in zip(range(count), places, strict=False):
        image = Image.new("RGB", (96, 96), "white")
        box = (left, top, left + 40, top + 40)
        ImageDraw.Draw(image).ellipse(box, fill=_COLORS[color])
        names = list(_COLORS)
        asked = color if number % 2 else names[(names.index(color) + 1 + number // 4 % 3) % 4]
        line = {
            "file_name": f"{number}.png",
            "question_id": str(number),
            "question": f"Is there a {asked} circle?",
            "answer": "yes" if asked == color else "no",
        }
        yield line, image
