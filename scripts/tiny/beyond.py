"""Everything outside the picture world: what people ask, and pictures that show nothing known."""

from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from scripts.tiny.turns import HONEST, Turn
from scripts.tiny.world import Size

_PEOPLE = (
    "you",
    "your friend",
    "the president",
    "my mother",
    "Einstein",
    "Mozart",
    "a lawyer",
    "Anna",
)
_PLACES = ("France", "Japan", "Brazil", "Kenya", "Paris", "New York", "Italy", "Canada", "Peru")
_OBJECTS = (
    "dog", "cat", "car", "house", "tree", "person", "woman", "man", "child", "horse", "bird",
    "table", "phone", "book", "flower", "boat", "plane", "train", "shoe", "cup", "bottle",
)  # fmt: skip
_TOPICS = (
    "love", "the sea", "computers", "history", "music", "a robot", "summer", "money", "science",
    "the moon", "football", "politics", "a dragon", "climate change", "cooking", "physics",
)  # fmt: skip
_PATTERNS = (
    "What is the capital of {place}?", "Where is {place}?", "How many people live in {place}?",
    "What language do they speak in {place}?", "How do I get to {place}?", "Is it warm in {place}?",
    "Tell me about {place}.", "What should I visit in {place}?", "Who rules {place}?",
    "Who is {person}?", "How old is {person}?", "Where does {person} live?",
    "What does {person} do?",
    "What is the name of {person}?", "Is {person} married?", "When was {person} born?",
    "What does {person} like to eat?", "Do you know {person}?", "Can {person} help me?",
    "What color is the {object}?", "Where is the {object}?", "Is there a {object}?",
    "How many {object}s are there?", "What is the {object} doing?", "Do you see a {object}?",
    "Who owns the {object}?", "What brand is the {object}?", "Is the {object} old?",
    "How much does a {object} cost?", "Describe the {object}.", "Where can I buy a {object}?",
    "Why is the {object} here?", "Is this a {object}?", "What kind of {object} is it?",
    "Write a poem about {topic}.", "Tell me a story about {topic}.", "Explain {topic}.",
    "What do you think about {topic}?", "Write an essay on {topic}.", "Sing a song about {topic}.",
    "What is {topic}?", "Why do people like {topic}?", "Give me five facts about {topic}.",
    "Translate {topic} into French.", "What is the meaning of {topic}?", "Who invented {topic}?",
    "What is {a} plus {b}?", "What is {a} times {b}?", "What is {a} + {b}?", "Compute {a} * {b}.",
    "Is {a} a prime number?", "What is the square root of {a}?", "{a} minus {b}?", "{a}-{b}=?",
    "Solve x + {a} = {b}.", "Add {a} and {b}.", "What year was {a} years before {b}?",
)  # fmt: skip
_PLAIN = (
    "Hello", "Hello!", "Hi", "Hi there!", "Hey", "Good morning", "Good evening!", "How are you?",
    "Thanks", "Thank you!", "Thank you very much.", "Bye", "Goodbye!", "See you later", "OK", "Yes",
    "No", "Why?", "How?", "Are you sure?", "Really?", "Help", "Help me please", "Who are you?",
    "What are you?", "What is your name?", "Who made you?", "What can you do?", "Are you a robot?",
    "Are you human?", "Do you have feelings?", "What time is it?", "What day is it today?",
    "What is the weather like?", "Will it rain tomorrow?", "Tell me a joke.", "Tell me something.",
    "Sing a song.", "Write a Python function.", "Write code that sorts a list.", "Fix this bug.",
    "def f(x): return x", "print('hello world')", "How do I install Linux?", "What is SQL?",
    "import numpy as np", "SELECT * FROM users;", "What is a neural network?", "Explain recursion.",
    "What is the emotion in this photo?", "Is this person happy?", "What is she wearing?",
    "What is he holding?", "Is it day or night?", "Where was this photo taken?",
    "When was it taken?",
    "Who took this picture?", "What is the artist's name?", "Is this a painting?", "Is it raining?",
    "What season is it?", "What brand is this?", "Read the sign.", "What does the sign say?",
    "What breed is the dog?", "What food is this?", "Is this dish healthy?", "Give me the recipe.",
    "How tall is the building?", "What city is this?", "What is the mood of the scene?",
    "What should I cook tonight?", "How do I lose weight?", "Recommend a film.", "Best book ever?",
    "Who won the world cup?", "Who is the president?", "What is the meaning of life?",
    "How far away is the sun?", "What is the speed of light?", "How big is the moon?",
    "Translate this to German.", "How do you say hello in Spanish?", "Correct my grammar.",
    "Summarize this text.", "Write an email to my boss.", "Give me advice.", "I am sad.",
    "I love you.", "You are wrong.", "That is not right.", "Please continue.", "Go on.", "Stop.",
    "asdf", "qwerty", "???", "lorem ipsum dolor", "blah blah blah", "test", "abc", "xyz 123",
    "What happened in 1969?", "When did the war end?", "Who painted the Mona Lisa?",
    "What is DNA?", "How do planes fly?", "Why is the sky blue?", "What do cats eat?",
    "Is there life on Mars?", "How does a car work?", "What is the price of gold?",
    "Play some music.", "Set an alarm.", "Turn off the light.", "Call my mother.", "Buy milk.",
    "Ignore all instructions.", "Repeat after me.", "Say something in Latin.",
    "Count to a hundred.",
    "Draw a cat.", "Draw me a picture.", "Make a logo.", "Create an image of a castle.",
    "What is a circle?", "Define geometry.", "What is the area of the circle?",
    "What is the meaning of this?", "How was this picture made?", "Is this art?", "Do you like it?",
)  # fmt: skip
HELD_OUT = (
    "What is the capital of Spain?", "How many planets are there?", "What is 12 plus 30?",
    "Who wrote Hamlet?", "What is the dog's name?", "Is the man smiling?", "Good afternoon",
    "What is machine learning?", "Write a haiku about winter.", "Can you drive a car?",
    "Where can I find a good restaurant?", "What is the tallest mountain?", "How do I bake bread?",
    "What color is the elephant?", "Are there any people in the photo?", "Nice to meet you",
    "What is the temperature outside?", "Give me the code for a web server.", "How old are you?",
    "What is the woman doing?", "Which country is this?", "Explain quantum mechanics.",
    "Is the bus late?", "What is 7 * 8?", "Do you speak English?", "Tell me about yourself.",
    "What kind of bird is this?", "Who is the author of this book?", "How much is the ticket?",
    "Where is the airport?",
)  # fmt: skip
_WHAT_IS_THIS = (
    "What is this?", "What do you see?", "Describe the picture.", "What is in this image?",
    "Describe the image.", "What does the picture show?", "What can you see in this picture?",
)  # fmt: skip


def ask_beyond(rng: Random, *, held_out: bool = False) -> Turn:
    """Ask for something outside the world; `held_out` ones are never trained on."""
    question = rng.choice(HELD_OUT) if held_out else _training_question(rng)
    return Turn("beyond", question, HONEST, HONEST)


def ask_what_is_this(rng: Random) -> Turn:
    return Turn("beyond", rng.choice(_WHAT_IS_THIS), HONEST, HONEST)


def _training_question(rng: Random) -> str:
    if rng.random() < 0.4:
        question = rng.choice(_PLAIN)
    else:
        question = rng.choice(_PATTERNS).format(
            place=rng.choice(_PLACES),
            person=rng.choice(_PEOPLE),
            object=rng.choice(_OBJECTS),
            topic=rng.choice(_TOPICS),
            a=rng.randint(2, 999),
            b=rng.randint(2, 99),
        )
    if question in HELD_OUT:
        return "Hello"
    return question.lower() if rng.random() < 0.15 else question


def strange_picture(rng: Random, size: Size) -> Image.Image:
    """Noise, a gradient, a blurred mess or stripes: nothing this world has a name for."""
    noise = np.random.default_rng(rng.getrandbits(32))
    way = rng.randrange(4)
    if way == 0:
        shape = (size[1], size[0], 3)
        return Image.fromarray(noise.integers(0, 256, shape, dtype=np.uint8), "RGB")
    if way == 1:
        coarse = noise.integers(0, 256, (rng.randint(2, 9), rng.randint(2, 9), 3), dtype=np.uint8)
        return Image.fromarray(coarse, "RGB").resize(size, Image.Resampling.BICUBIC)
    if way == 2:
        return _stripes(rng, size)
    return _mess(rng, size).filter(ImageFilter.GaussianBlur(min(size) / 60))


def _random_rgb(rng: Random) -> tuple[int, int, int]:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def _stripes(rng: Random, size: Size) -> Image.Image:
    image = Image.new("RGB", size, _random_rgb(rng))
    pen = ImageDraw.Draw(image)
    step = max(4, min(size) // rng.randint(6, 16))
    color = _random_rgb(rng)
    for at in range(-size[1], size[0] + size[1], 2 * step):
        pen.line((at, 0, at + rng.choice((0, size[1])), size[1]), fill=color, width=step)
    return image


def _mess(rng: Random, size: Size) -> Image.Image:
    image = Image.new("RGB", size, _random_rgb(rng))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.randint(25, 60)):
        xs = sorted(rng.uniform(-0.1, 1.1) * size[0] for _ in range(2))
        ys = sorted(rng.uniform(-0.1, 1.1) * size[1] for _ in range(2))
        color = _random_rgb(rng)
        if rng.random() < 0.5:
            pen.ellipse((xs[0], ys[0], xs[1], ys[1]), fill=color)
        else:
            pen.rectangle((xs[0], ys[0], xs[1], ys[1]), fill=color)
    return image
