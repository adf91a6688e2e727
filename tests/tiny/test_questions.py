"""Questions are well-posed, and their answers say what the scene holds."""

import re
from random import Random

import pytest

from scripts.tiny.comparison import ORDINALS, ask_which, random_change
from scripts.tiny.motion import ask_motion, random_motion
from scripts.tiny.out_of_domain import HELD_OUT, ask_out_of_domain
from scripts.tiny.questions import ASKERS, describe
from scripts.tiny.scenes import random_scene, random_size
from scripts.tiny.turns import COUNTS, REFUSAL, Turn
from scripts.tiny.world import COLORS, SHAPES, Scene

_COLOR = "|".join(COLORS)
_SHAPE = "|".join(SHAPES)


def asked(kind: str, count: int = 300) -> list[tuple[Scene, Turn]]:
    rng = Random(f"questions {kind}")
    found: list[tuple[Scene, Turn]] = []
    while len(found) < count:
        scene = random_scene(rng, random_size(rng))
        if turn := ASKERS[kind](rng, scene):
            found.append((scene, turn))
    return found


@pytest.mark.parametrize("kind", ASKERS)
def test_an_answer_is_a_sentence_and_its_word_is_short(kind: str) -> None:
    for _, turn in asked(kind, 100):
        assert turn.kind == kind
        assert turn.question[-1] in "?."
        assert turn.answer[0].isupper()
        assert turn.answer.endswith(".")
        assert len(turn.word.split()) <= 2


def test_the_color_of_a_shape_is_asked_only_when_there_is_one_such_shape() -> None:
    for scene, turn in asked("color"):
        if match := re.fullmatch(rf"The ({_SHAPE}) is ({_COLOR})\.", turn.answer):
            shape, color = match.groups()
            assert (shape, color) in {(t.shape, t.color) for t in scene.shapes}
            if shape in turn.question:
                assert [t.shape for t in scene.shapes].count(shape) == 1
        elif match := re.fullmatch(rf"There is no ({_SHAPE})\.", turn.answer):
            assert match[1] not in {t.shape for t in scene.shapes}
        else:
            assert scene.number
            assert turn.answer == f"The number is {scene.number.color}."


def test_a_shape_is_asked_by_what_it_alone_has() -> None:
    for scene, turn in asked("shape"):
        match = re.fullmatch(rf"The ({_COLOR}) shape is an? ({_SHAPE})\.", turn.answer)
        if match:
            color, shape = match.groups()
            assert (shape, color) in {(t.shape, t.color) for t in scene.shapes}
            if color in turn.question:
                assert [t.color for t in scene.things].count(color) == 1
        else:
            assert turn.answer.startswith(("There is no", "There is nothing"))


def test_counts_are_counted() -> None:
    for scene, turn in asked("count"):
        words = turn.question.split()
        shapes = [shape for shape in SHAPES if any(word.startswith(shape) for word in words)]
        colors = [color for color in COLORS if color in words]
        count = sum(
            (not shapes or thing.shape in shapes) and (not colors or thing.color in colors)
            for thing in scene.shapes
        )
        assert f" {COUNTS[count]} " in turn.answer


def test_a_position_is_where_the_named_thing_is() -> None:
    for scene, turn in asked("position"):
        if match := re.fullmatch(r"The (.+) is at the (.+)\.", turn.answer):
            name, position = match.groups()
            there = [t for t in scene.things if t.position == position]
            assert any(set(name.split()) <= {t.color, t.shape, "shape"} for t in there)


def test_half_of_the_answers_about_presence_are_no() -> None:
    turns = [turn for _, turn in asked("presence")]
    assert 0.35 < sum(turn.word == "no" for turn in turns) / len(turns) < 0.65


def test_a_description_names_everything_once() -> None:
    for scene, turn in asked("description"):
        assert turn.answer == describe(scene)
        assert turn.answer.lower().count(" at the ") == len(scene.things)
        assert turn.answer.endswith(f"{scene.background} background.")
        for thing in scene.things:
            assert thing.position in turn.answer


def test_which_picture_has_exactly_one_answer() -> None:
    rng = Random("which")
    for _ in range(200):
        scenes = tuple(random_scene(rng, (96, 96), shapes=(0, 3)) for _ in range(2))
        turn = ask_which(rng, scenes)
        if turn is None:
            continue
        name = re.sub(r".*\ban? ", "", turn.question.rstrip("?"))
        holds = [
            any(set(name.split()) <= {thing.color, thing.shape, "shape"} for thing in scene.shapes)
            for scene in scenes
        ]
        assert holds == [ordinal == turn.word for ordinal in ORDINALS[:2]]


def test_a_change_changes_one_thing() -> None:
    rng = Random("change")
    changes = [change for _ in range(300) if (change := random_change(rng, (96, 96)))]
    assert {change.word for change in changes} > {"color", "shape", "moved", "added", "removed"}
    for change in changes:
        differing = set(change.before.things) ^ set(change.after.things)
        expected = {"nothing": 0, "added": 1, "removed": 1}.get(change.word, 2)
        assert len(differing) == expected


def test_a_clip_moves_the_way_its_answer_says() -> None:
    rng = Random("clips")
    videos = [motion for _ in range(200) if (motion := random_motion(rng, (96, 96), 5))]
    assert {motion.direction for motion in videos} == {"left", "right", "up", "down", "still"}
    for motion in videos:
        first, last = motion.frames[0].things[0], motion.frames[-1].things[0]
        moves = {"left": last.x < first.x, "right": last.x > first.x}
        moves |= {"up": last.y < first.y, "down": last.y > first.y, "still": first == last}
        assert [name for name, is_true in moves.items() if is_true] == [motion.direction]
        assert motion.thing.shape in ask_motion(rng, motion).answer


def test_held_out_questions_are_never_trained_on() -> None:
    rng = Random("beyond")
    trained = {ask_out_of_domain(rng).question.lower() for _ in range(5000)}
    assert trained.isdisjoint(question.lower() for question in HELD_OUT)
    assert ask_out_of_domain(rng, held_out=True).answer == REFUSAL
