"""Videos of one moving shape, and the questions about its motion."""

from dataclasses import dataclass, replace
from random import Random

from scripts.tiny.comparison import DETAIL
from scripts.tiny.questions import ask_background, ask_color, ask_shape
from scripts.tiny.scenes import fits, random_scene
from scripts.tiny.turns import Turn, sentence, wording
from scripts.tiny.world import Scene, Size, Thing

_STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), "still": (0, 0)}
_SAID = {
    "left": "moves to the left",
    "right": "moves to the right",
    "up": "moves up",
    "down": "moves down",
    "still": "does not move",
}


@dataclass(frozen=True, slots=True)
class Motion:
    """The scenes of a video's frames, and which way its shape moves."""

    frames: tuple[Scene, ...]
    direction: str

    @property
    def thing(self) -> Thing:
        return self.frames[0].things[0]


def random_motion(rng: Random, size: Size, frames: int) -> Motion | None:
    """Draw a shape that moves by a third of the image or more, or stays; None without room."""
    scene = random_scene(rng, size, shapes=(1, 1), smallest=0.12, numbers=0.0)
    if len(scene.shapes) != 1:
        return None
    thing = scene.shapes[0]
    thing = replace(thing, radius=min(thing.radius, 0.24))
    direction = rng.choice(("left", "right", "up", "down", "still"))
    across, down = _STEPS[direction]
    way = rng.uniform(0.33, 0.7)
    for _ in range(40):
        start = replace(thing, x=rng.random(), y=rng.random())
        end = replace(start, x=start.x + across * way, y=start.y + down * way)
        if fits(start, [], size) and fits(end, [], size):
            return Motion(
                tuple(_between(scene, start, end, i / (frames - 1)) for i in range(frames)),
                direction,
            )
    return None


def _between(scene: Scene, start: Thing, end: Thing, share: float) -> Scene:
    x = start.x + (end.x - start.x) * share
    y = start.y + (end.y - start.y) * share
    return replace(scene, things=(replace(start, x=x, y=y),), quality=0)


def ask_motion(rng: Random, motion: Motion) -> Turn:
    """Ask which way the shape moves."""
    question = wording(rng, "motion", shape=motion.thing.shape)
    answer = f"The {motion.thing.color} {motion.thing.shape} {_SAID[motion.direction]}."
    return Turn("motion", question, answer, motion.direction)


def ask_about_video(rng: Random, motion: Motion) -> Turn | None:
    """Ask about color, shape or background, which no frame changes."""
    asker = rng.choice((ask_color, ask_shape, ask_background))
    turn = asker(rng, motion.frames[0])
    return None if turn is None or " at the " in turn.question else turn


def ask_motion_detail(rng: Random, motion: Motion) -> Turn:
    """Ask whether the shape moves some way, or where it starts or ends."""
    shape = motion.thing.shape
    if rng.random() < 0.5:
        first = rng.random() < 0.5
        thing = motion.frames[0 if first else -1].things[0]
        question = wording(rng, "motion", "at_the_start" if first else "at_the_end", shape=shape)
        answer = f"The {shape} is at the {thing.position}."
        return Turn(DETAIL, question, answer, thing.position)
    asked = motion.direction if rng.random() < 0.5 else rng.choice(("left", "right", "up", "down"))
    to = f"to the {asked}" if asked in ("left", "right") else asked
    way = "whether_at_all" if asked == "still" else "whether"
    question = wording(rng, "motion", way, shape=shape, direction=to)
    is_so = asked == motion.direction and asked != "still"
    word = "yes" if is_so else "no"
    answer = f"{sentence(word)}, the {motion.thing.color} {shape} {_SAID[motion.direction]}."
    return Turn(DETAIL, question, answer, word)
