"""The embedded corpus: English that a seeded grammar writes, so that models can be pretrained without any download.

A *world* is drawn once a seed: countries with their capitals and crops, people with an occupation, a town, an animal and a
favourite colour, and things with colours. Documents then say the same facts again and again in different words, so that
loss falls well below that of the words alone and a probe or a question has something to find. Kinds of document, with
their share:

- `profile` (22%): one person's facts, in random order and wording;
- `country` (10%): one country's capital, crop and towns;
- `arithmetic` (26%): two to four word problems over numbers from 1 to 10 (results up to 100) with each step worked, as in
  "Tom has 3 apples. He buys 4 more. 3 + 4 = 7. So Tom has 7 apples.";
- `feeling` (16%): something good or something bad happens to a person, who is happy or sad about it;
- `colours` (8%): colours of things and of their owners' favourite things;
- `questions` (18%): questions about the world, answered.

Pure Python; random numbers come from `random.Random(seed).random()` alone, whose stream Python guarantees.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")

_WOMEN = (
    "Mia", "Anna", "Lily", "Rosa", "Emma", "Clara", "Nora", "Ella", "Sara", "Ida", "Olga", "Ruth",
    "Jane", "Amy", "Lena", "Vera",
)  # fmt: skip
_MEN = (
    "Tom", "Ben", "Max", "Sam", "Paul", "Leo", "Carl", "Hugo", "Jack", "Noah", "Ivan", "Otto", "Emil",
    "Finn", "Adam", "Karl",
)  # fmt: skip
_COUNTRIES = (
    "Veloria", "Marland", "Sundria", "Korvia", "Almera", "Tessia", "Norwick", "Pelonia", "Drakmar",
    "Islonia", "Ravenia", "Zembla",
)  # fmt: skip
_TOWNS = (
    "Tamsin", "Oster", "Belgrove", "Rivermouth", "Hilden", "Castor", "Lindale", "Portwell",
    "Sandbury", "Greenholt", "Wexley", "Dunmore",
    "Elmfield", "Stonebridge", "Fairhaven", "Northam", "Kelso", "Millbrook", "Ashford", "Brayton",
    "Corwen", "Thornby", "Upton", "Yarrow",
)  # fmt: skip
_CROPS = (
    "rice", "wheat", "apples", "tea", "corn", "grapes", "beans", "cotton", "olives", "potatoes", "barley", "plums",
)  # fmt: skip
_WORK = {  # occupation: what it does, where
    "baker": ("bakes bread", "bakery"), "doctor": ("helps sick people", "hospital"),
    "teacher": ("teaches children", "school"), "farmer": ("grows vegetables", "farm"),
    "pilot": ("flies planes", "airport"), "painter": ("paints pictures", "studio"),
    "sailor": ("sails ships", "harbour"), "gardener": ("plants flowers", "garden"),
    "cook": ("makes soup", "kitchen"), "driver": ("drives a bus", "station"),
    "writer": ("writes books", "library"), "singer": ("sings songs", "theatre"),
}  # fmt: skip
_ANIMALS = {  # animal: its sound, its food
    "cat": ("meows", "fish"), "dog": ("barks", "bones"), "horse": ("neighs", "hay"), "duck": ("quacks", "seeds"),
    "cow": ("moos", "grass"), "goat": ("bleats", "leaves"), "parrot": ("talks", "nuts"), "mouse": ("squeaks", "cheese"),
}  # fmt: skip
_COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown", "grey", "pink", "purple")
_THINGS = ("house", "boat", "coat", "hat", "bike", "car", "door", "cup", "bag", "chair", "lamp", "kite")
_COUNTED = (
    ("apple", "apples"), ("book", "books"), ("coin", "coins"), ("pen", "pens"), ("egg", "eggs"),
    ("stone", "stones"), ("card", "cards"),
    ("ball", "balls"), ("shell", "shells"), ("cake", "cakes"),
)  # fmt: skip
_BOXES = (("box", "boxes"), ("bag", "bags"), ("basket", "baskets"), ("shelf", "shelves"))
_GOOD = (
    "found a gold coin", "won the race", "got a letter from a good friend", "ate a warm cake",
    "learned a new song", "played in the sun",
    "got a lovely present", "passed the test",
)  # fmt: skip
_BAD = (
    "lost a new hat", "broke a favourite cup", "missed the last train", "fell into cold water",
    "failed the test", "had a bad dream",
    "heard terrible news", "got very sick",
)  # fmt: skip
_HAPPY = ("happy", "glad", "cheerful", "delighted")
_SAD = ("sad", "unhappy", "upset", "miserable")


@dataclass(frozen=True, kw_only=True)
class Person:
    """One inhabitant; every field is a fact that documents repeat."""

    name: str
    he: str
    his: str
    work: str
    town: str
    animal: str
    pet_colour: str
    colour: str
    thing: str
    thing_colour: str


@dataclass(frozen=True, kw_only=True)
class Country:
    """One country: `towns` includes the capital."""

    name: str
    capital: str
    crop: str
    towns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class World:
    """The facts of one seed."""

    people: tuple[Person, ...]
    countries: tuple[Country, ...]


class _Dice:
    """Choices from one stream of uniform numbers."""

    def __init__(self, seed: int) -> None:
        self._next = random.Random(seed).random

    def pick(self, pool: Sequence[Item]) -> Item:
        return pool[int(self._next() * len(pool))]

    def number(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return low + int(self._next() * (high - low + 1))

    def shuffled(self, pool: Sequence[Item]) -> list[Item]:
        return [item for _, item in sorted(((self._next(), item) for item in pool), key=lambda pair: pair[0])]


def world(seed: int = 0) -> World:
    """The facts that `documents(seed)` tells: 12 countries of two towns each, 32 people."""
    dice = _Dice(seed)
    towns, crops = dice.shuffled(_TOWNS), dice.shuffled(_CROPS)
    countries = tuple(
        Country(name=name, capital=towns[2 * i], crop=crops[i], towns=(towns[2 * i], towns[2 * i + 1]))
        for i, name in enumerate(dice.shuffled(_COUNTRIES))
    )
    people = []
    for name in dice.shuffled(_WOMEN + _MEN):
        he, his = ("She", "Her") if name in _WOMEN else ("He", "His")
        person = Person(
            name=name, he=he, his=his, work=dice.pick(tuple(_WORK)), town=dice.pick(_TOWNS), animal=dice.pick(tuple(_ANIMALS)),
            pet_colour=dice.pick(_COLOURS), colour=dice.pick(_COLOURS), thing=dice.pick(_THINGS), thing_colour=dice.pick(_COLOURS),
        )  # fmt: skip
        people.append(person)
    return World(people=tuple(people), countries=countries)


def _profile(dice: _Dice, place: World) -> str:
    p = dice.pick(place.people)
    does, where = _WORK[p.work]
    sound, food = _ANIMALS[p.animal]
    facts = (
        (f"{p.he} is a {p.work}.", f"{p.he} works as a {p.work}.", f"{p.his} work is that of a {p.work}: {p.he.lower()} {does}."),
        (f"{p.he} {does}.", f"{p.he} works in the {where}.", f"In the {where} {p.he.lower()} {does}."),
        (f"{p.he} lives in {p.town}.", f"{p.his} home is in {p.town}.", f"{p.he} comes from {p.town}."),
        (f"{p.he} has a {p.pet_colour} {p.animal}.", f"{p.his} {p.animal} is {p.pet_colour}."),
        (f"{p.his} {p.animal} {sound}.", f"{p.his} {p.animal} eats {food}.", f"{p.his} {p.animal} likes {food}."),
        (f"{p.his} favourite colour is {p.colour}.", f"{p.he} likes {p.colour} best.", f"{p.he} loves the colour {p.colour}."),
        (f"{p.he} has a {p.thing_colour} {p.thing}.", f"{p.his} {p.thing} is {p.thing_colour}."),
    )  # fmt: skip
    start = dice.pick(
        (f"This is {p.name}.", f"{p.name} is a {p.work}.", f"{p.name} lives in {p.town}.", f"I know {p.name}.")
    )
    chosen = dice.shuffled(facts)[: dice.number(3, 6)]
    return " ".join([start, *(dice.pick(words) for words in chosen)])


def _country(dice: _Dice, place: World) -> str:
    c = dice.pick(place.countries)
    facts = (
        (f"The capital of {c.name} is {c.capital}.", f"{c.capital} is the capital of {c.name}."),
        (f"{c.name} has a capital, {c.capital}.", f"The biggest town of {c.name} is {c.capital}."),
        (f"People in {c.name} grow {c.crop}.", f"{c.name} is known for its {c.crop}.", f"The farmers of {c.name} sell {c.crop}."),
        (f"{c.towns[1]} is a town in {c.name}.", f"In {c.name} there is a town called {c.towns[1]}."),
        (f"From {c.towns[1]} a road goes to {c.capital}.", f"A train runs from {c.capital} to {c.towns[1]}."),
    )  # fmt: skip
    return " ".join(dice.pick(words) for words in dice.shuffled(facts)[: dice.number(2, 4)])


def _count(n: int, thing: tuple[str, str]) -> str:
    return f"{n} {thing[n != 1]}"


def _gain(dice: _Dice, p: Person) -> str:
    a, b, thing = dice.number(1, 10), dice.number(1, 10), dice.pick(_COUNTED)
    more = dice.pick(("buys", "finds", "gets"))
    return f"{p.name} has {_count(a, thing)}. {p.he} {more} {b} more. {a} + {b} = {a + b}. So {p.name} has {_count(a + b, thing)}."


def _loss(dice: _Dice, p: Person) -> str:
    a, thing = dice.number(2, 10), dice.pick(_COUNTED)
    b = dice.number(1, a - 1)
    verb = dice.pick(("gives away", "loses", "sells"))
    return f"{p.name} has {_count(a, thing)}. {p.he} {verb} {b}. {a} - {b} = {a - b}. So {p.name} has {_count(a - b, thing)} left."


def _groups(dice: _Dice, p: Person) -> str:
    a, b, thing, box = dice.number(2, 10), dice.number(2, 10), dice.pick(_COUNTED), dice.pick(_BOXES)
    start = f"{p.name} has {_count(a, box)}. Each {box[0]} holds {_count(b, thing)}."
    return f"{start} {a} * {b} = {a * b}. So {p.name} has {_count(a * b, thing)}."


def _two_steps(dice: _Dice, p: Person) -> str:
    a, b, thing = dice.number(1, 10), dice.number(1, 10), dice.pick(_COUNTED)
    c = dice.number(1, min(10, a + b - 1))
    start = f"{p.name} has {_count(a, thing)}. {p.he} finds {b} more. Then {p.he.lower()} gives away {c}."
    left = a + b - c
    return f"{start} {a} + {b} = {a + b}. {a + b} - {c} = {left}. So {p.name} has {_count(left, thing)} left."


def _together(dice: _Dice, p: Person) -> str:
    a, b, thing, town = dice.number(1, 10), dice.number(1, 10), dice.pick(_COUNTED), dice.pick(_TOWNS)
    start = f"In {town} {p.name} sees {_count(a, thing)} and then {b} more. How many {thing[1]} are there?"
    return f"{start} {a} + {b} = {a + b}. There are {a + b}."


_PROBLEMS = (_gain, _gain, _loss, _loss, _groups, _two_steps, _together)


def _arithmetic(dice: _Dice, place: World) -> str:
    return "\n".join(dice.pick(_PROBLEMS)(dice, dice.pick(place.people)) for _ in range(dice.number(2, 4)))


def _feeling(dice: _Dice, place: World) -> str:
    p = dice.pick(place.people)
    good = dice.number(0, 1) == 1
    event, mood = dice.pick(_GOOD if good else _BAD), dice.pick(_HAPPY if good else _SAD)
    town, friend = dice.pick(_TOWNS), dice.pick(place.people).name
    when = dice.pick(("Yesterday", "Today", "Last week", "In the morning", f"In {town}"))
    felt = dice.pick((f"{p.he} was {mood}.", f"{p.he} felt {mood}.", f"That made {p.name} {mood}."))
    good_ends = (f"{p.he} smiled and laughed.", f"{p.he} told {friend} the good news.", "It was a wonderful day.")
    bad_ends = (f"{p.he} began to cry.", f"{friend} tried to help.", "It was an awful day.")
    return f"{when} {p.name} {event}. {felt} {dice.pick(good_ends if good else bad_ends)}"


def _colours(dice: _Dice, place: World) -> str:
    lines = []
    for _ in range(dice.number(2, 4)):
        p = dice.pick(place.people)
        words = (
            f"The {p.thing} of {p.name} is {p.thing_colour}.",
            f"{p.name} owns a {p.thing_colour} {p.thing}.",
            f"{p.name} likes {p.colour}, and the {p.animal} of {p.name} is {p.pet_colour}.",
        )
        lines.append(dice.pick(words))
    return " ".join(lines)


def _questions(dice: _Dice, place: World) -> str:
    lines = []
    for _ in range(dice.number(2, 4)):
        p, c = dice.pick(place.people), dice.pick(place.countries)
        a, b = dice.number(1, 10), dice.number(1, 10)
        asked = (
            f"Where does {p.name} live? {p.name} lives in {p.town}.",
            f"What is the work of {p.name}? {p.name} is a {p.work}.",
            f"Which animal does {p.name} have? {p.name} has a {p.animal}.",
            f"What is the favourite colour of {p.name}? It is {p.colour}.",
            f"What is the capital of {c.name}? It is {c.capital}.",
            f"In which country is {c.capital}? {c.capital} is in {c.name}.",
            f"What does {c.name} grow? {c.name} grows {c.crop}.",
            f"What is {a} + {b}? {a} + {b} = {a + b}.",
            f"What is {a} * {b}? {a} * {b} = {a * b}.",
        )
        lines.append(dice.pick(asked))
    return "\n".join(lines)


_KINDS: tuple[tuple[int, Callable[[_Dice, World], str]], ...] = (
    (22, _profile),
    (10, _country),
    (26, _arithmetic),
    (16, _feeling),
    (8, _colours),
    (18, _questions),
)


def documents(seed: int = 0) -> Iterator[str]:
    """Documents without end, the same ones for the same seed; about 150 characters each, ASCII, no blank lines."""
    place = world(seed)
    dice = _Dice(seed + 1_000_003)  # not the stream that drew the world
    kinds = [write for share, write in _KINDS for _ in range(share)]
    while True:
        yield dice.pick(kinds)(dice, place)
