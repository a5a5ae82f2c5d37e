"""How the doctor's findings are shown."""

import json

from speech.doctor.checks import NOTE, OK, PROBLEM, Check, as_json, has_problem, page

FINE = Check("Python", OK, "3.11.7")
LESS = Check("ffmpeg", NOTE, "not found", "apt-get install ffmpeg")
WRONG = Check("disk", PROBLEM, "full " * 40, "make room")


def test_a_page_for_a_person() -> None:
    lines = page([FINE, LESS, WRONG]).splitlines()
    assert lines[0] == "ok       Python               3.11.7"
    assert lines[2] == " " * 30 + "-> apt-get install ffmpeg"
    assert lines[-2:] == [" " * 30 + "-> make room", "1 problem."]
    assert max(map(len, lines)) <= 120
    assert page([FINE, LESS]).endswith("\nNo problem.")


def test_json_for_a_program() -> None:
    found = json.loads(as_json([FINE, WRONG]))
    assert found["problem"] is True
    assert found["checks"][0] == {"subject": "Python", "state": "ok", "found": "3.11.7", "advice": ""}
    assert not has_problem([FINE, LESS])
