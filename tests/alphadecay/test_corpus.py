"""The embedded corpus: the same for a seed, true in itself, and with something to find."""

from __future__ import annotations

import hashlib
import itertools
import re

from alphadecay import corpus


def some(n: int = 3000, seed: int = 0) -> list[str]:
    return list(itertools.islice(corpus.documents(seed), n))


def test_same_seed_same_documents() -> None:
    assert some(500) == some(500)
    assert some(500) != some(500, seed=1)


def test_documents_are_those_of_this_version() -> None:
    """A change of the text changes every model trained on it: it must be meant."""
    found = hashlib.sha256("\0".join(some(1000)).encode()).hexdigest()
    assert found == "20200375d2245f362e5858ac6ee6747909b6df90c42450fda580f4b53132e110"


def test_documents_are_plain_text() -> None:
    for text in some():
        assert text.isascii()
        assert text.strip() == text
        assert "\n\n" not in text
    assert 80 < sum(map(len, some())) / 3000 < 250


def test_arithmetic_is_right() -> None:
    operations = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
    steps = re.findall(r"(\d+) ([+*-]) (\d+) = (\d+)", "\n".join(some()))
    assert len(steps) > 1500
    for a, sign, b, result in steps:
        assert operations[sign](int(a), int(b)) == int(result)


def test_problems_conclude_with_their_last_step() -> None:
    problems = re.findall(r"= (\d+)\. So \w+ has (\d+) (\w+)", "\n".join(some()))
    assert len(problems) > 1000
    for result, said, thing in problems:
        assert result == said
        assert thing.endswith("s") == (said != "1")


def test_facts_repeat_and_agree_with_the_world() -> None:
    text = "\n".join(some())
    place = corpus.world(0)
    assert len({p.name for p in place.people}) == 32
    assert len({c.capital for c in place.countries}) == 12
    for person in place.people:
        found = re.findall(rf"{person.name} lives in (\w+)\.", text)
        assert len(found) >= 3
        assert set(found) == {person.town}
        assert set(re.findall(rf"{person.name} is a (\w+)\.", text)) == {person.work}
    for country in place.countries:
        said = re.findall(
            rf"(?:The capital of {country.name} is|What is the capital of {country.name}\? It is) (\w+)", text
        )
        assert len(said) >= 3
        assert set(said) == {country.capital}


def test_feelings_follow_events() -> None:
    happy = "happy|glad|cheerful|delighted"
    sad = "sad|unhappy|upset|miserable"
    text = some()
    won = [t for t in text if "won the race" in t]
    lost = [t for t in text if "missed the last train" in t]
    assert len(won) > 10
    assert len(lost) > 10
    assert all(re.search(rf"\b({happy})\b", t) and not re.search(rf"\b({sad})\b", t) for t in won)
    assert all(re.search(rf"\b({sad})\b", t) and not re.search(rf"\b({happy})\b", t) for t in lost)
