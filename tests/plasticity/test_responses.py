"""The file of responses: torn lines, other headers, foreign files, two writers."""

from __future__ import annotations

from pathlib import Path

import pytest

from plasticity.responses import Answers, Response, ResponseFile, load_responses
from spectra.errors import SpectraError

HEADER = {"engine": {"model": "m"}, "options": {"seed": 0, "stop": ("a",)}, "questions": 2}


def answers(id_: str) -> Answers:
    response = Response(question_id=id_, sample=0, text=f"té\ud83d {id_}\n", tokens=3, finish="stop")
    return Answers(question_id=id_, responses=(response,), notes=("identical",))


def test_written_read_and_put_in_order(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with ResponseFile(path, HEADER, resume=False) as file:
        file.append(answers("b"))
        assert not load_responses(path).complete
        file.append(answers("a"))
        file.finish(["a", "b"])
    found = load_responses(path)
    assert found.complete and found.answers == (answers("a"), answers("b"))
    assert found.header["options"] == {"seed": 0, "stop": ["a"]}


def test_every_torn_end_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with ResponseFile(path, HEADER, resume=False) as file:
        file.append(answers("a"))
        file.append(answers("b"))
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with ResponseFile(path, HEADER, resume=True) as file:
            assert len(file.answers) == max(0, sum(end <= size for end in ends) - 1)
            for id_ in ("a", "b"):
                if id_ not in file.answers:
                    file.append(answers(id_))
        assert path.read_bytes() == whole


def test_other_headers_and_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with ResponseFile(path, HEADER, resume=True) as file:
        file.append(answers("a"))
        with pytest.raises(SpectraError, match="Another process is writing"):
            ResponseFile(path, HEADER, resume=True)
    before = path.read_bytes()
    with pytest.raises(SpectraError, match="exists"):
        ResponseFile(path, HEADER, resume=False)
    other = HEADER | {"options": {"seed": 1, "stop": ("a",)}}
    with pytest.raises(SpectraError, match=r"another options\.seed \(0 there, 1 here\)"):
        ResponseFile(path, other, resume=True)
    assert path.read_bytes() == before
    path.write_bytes(before.replace(b'{"id"', b'{"id', 1) + before.splitlines(keepends=True)[1])
    with pytest.raises(SpectraError, match="Line 2"):
        ResponseFile(path, HEADER, resume=True)
    for foreign in (b"my notes", b'{"a": 1}\n', b"\x00\x01", b'{"header": 5}\n'):
        path.write_bytes(foreign)
        with pytest.raises(SpectraError, match="no file of responses"):
            ResponseFile(path, HEADER, resume=True)
        assert path.read_bytes() == foreign
    path.write_bytes(before.replace(b'"version": 1', b'"version": 9'))
    with pytest.raises(SpectraError, match="version 9"):
        load_responses(path)
    with pytest.raises(SpectraError, match="Cannot read"):
        load_responses(tmp_path / "none.jsonl")
    with pytest.raises(SpectraError, match="Cannot write"):
        ResponseFile(tmp_path / "no" / "folder.jsonl", HEADER, resume=False)
