"""Evaluation: a checkpoint takes an exam it has never seen; prints the accuracy of each kind."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm  # type: ignore[import-untyped]

from llava_serve.evaluation.report.statistics import wilson_interval
from llava_serve.tiny import CHECKPOINT
from scripts.tiny.dialogue import Dialogue
from scripts.tiny.exam import (
    PRECISIONS,
    REFUSAL_KINDS,
    VISUAL_KINDS,
    Predictor,
    blanked,
    draw_exam,
    kind_of,
    removed,
)


@dataclass(frozen=True, slots=True)
class Score:
    """Accuracy of `n` answers, and `chance`: that of the best constant answer."""

    kind: str
    n: int
    right: int
    chance: float

    @property
    def accuracy(self) -> float:
        return self.right / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval."""
        return wilson_interval(self.accuracy, self.n)


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong answer beside the right one."""

    kind: str
    question: str
    right: str
    said: str


def grade(
    predictor: Predictor, exam: Sequence[Dialogue], *, one_word: bool = False
) -> tuple[list[Score], list[Mistake]]:
    """Let `predictor` take the exam; an answer is right when it is so letter for letter."""
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    answers: dict[str, Counter[str]] = {}
    mistakes = []
    for i, said in tqdm(predictor.answers(exam), total=len(exam), disable=None):
        kind, turn = kind_of(exam[i]), exam[i].exchanges[-1].turn
        wanted = turn.word if one_word else turn.answer
        asked[kind] += 1
        answers.setdefault(kind, Counter())[wanted] += 1
        if said == wanted:
            right[kind] += 1
        else:
            mistakes.append(Mistake(kind, turn.question, wanted, said))
    order = [kind for kind in VISUAL_KINDS + REFUSAL_KINDS if kind in asked]
    chances = {kind: max(answers[kind].values()) / asked[kind] for kind in order}
    return [Score(kind, asked[kind], right[kind], chances[kind]) for kind in order], mistakes


def total(scores: Sequence[Score], kinds: Sequence[str], name: str) -> Score:
    """Sum the scores of `kinds` under one name."""
    chosen = [score for score in scores if score.kind in kinds]
    n = sum(score.n for score in chosen)
    chance = sum(score.chance * score.n for score in chosen) / n
    return Score(name, n, sum(score.right for score in chosen), chance)


def table(scores: Sequence[Score]) -> str:
    """Format scores as lines of text."""
    lines = [f"{'kind':<16}{'n':>6}{'right':>8}   {'95 % interval':<16}{'constant':>9}"]
    for score in scores:
        low, high = score.interval
        share = f"{score.accuracy:>8.1%}   {f'{low:.1%} - {high:.1%}':<16}"
        lines.append(f"{score.kind:<16}{score.n:>6}{share}{score.chance:>9.1%}")
    return "\n".join(lines)


def main() -> None:
    options = _parse()
    for folder in filter(None, (options.model, options.adapter)):
        if not folder.is_dir():
            sys.exit(f"there is no folder {folder}")
    predictor = Predictor(options.model, options.adapter, options.precision)
    one_word = options.adapter is not None
    exam = draw_exam(options.questions, options.seed)
    if options.blank:
        exam = [blanked(dialogue) for dialogue in exam if dialogue.shown]
    scores, mistakes = grade(predictor, exam, one_word=one_word)
    scores.append(total(scores, VISUAL_KINDS, "all about pictures"))
    report: dict[str, object] = {"scores": _rows(scores), "mistakes": [asdict(m) for m in mistakes]}
    _say(table(scores))
    if not options.blank:
        sample = [c for c in exam if kind_of(c) in VISUAL_KINDS][:: options.control_every]
        for name, change in (("plain gray", blanked), ("no picture", removed)):
            report[name] = _control(predictor, sample, name, change, one_word=one_word)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def _control(
    predictor: Predictor,
    exam: list[Dialogue],
    name: str,
    change: Callable[[Dialogue], Dialogue],
    *,
    one_word: bool,
) -> list[dict[str, object]]:
    scores, _ = grade(predictor, [change(c) for c in exam], one_word=one_word)
    scores.append(total(scores, VISUAL_KINDS, "all about pictures"))
    _say(f"\nControl: {name} in place of every picture\n{table(scores)}")
    return _rows(scores)


def _rows(scores: Sequence[Score]) -> list[dict[str, object]]:
    return [asdict(s) | {"accuracy": s.accuracy, "interval": s.interval} for s in scores]


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=CHECKPOINT, help="folder of a checkpoint")
    parser.add_argument("--adapter", type=Path, help="folder of a one-word adapter")
    parser.add_argument("--precision", choices=[*PRECISIONS], default="float32")
    parser.add_argument("--questions", type=int, default=1500, help="in all, shared by the kinds")
    parser.add_argument("--seed", type=int, default=1, help="of the exam")
    parser.add_argument("--blank", action="store_true", help="gray pictures only")
    parser.add_argument("--control-every", type=int, default=4, help="share of the control, one in")
    parser.add_argument("--json", type=Path, help="file for scores and mistakes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
