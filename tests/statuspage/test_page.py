"""The page as HTML: complete in itself, sound, true to what it is told, and safe from it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from night_states import data_sequence, record, sequence_state

from osa.decision import Action, Decision
from osa.layout import DL1, DL2
from osa.model.job import JobState
from osa.model.night import Night
from osa.report import COLUMNS, table_rows
from osa.statuspage.page import LogTail, NightStatus, Status, Word, render

MORNING = datetime(2020, 1, 28, 8, 0, 3, tzinfo=UTC)
NIGHT = Night(date(2020, 1, 27))
EVIL = "<script>alert(\"1\")</script>'&amp;\"><img src=x onerror='f()'>"
EMPTY = frozenset({"meta", "link", "br", "img", "input", "hr"})


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    inside: list[Element] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def find(self, tag: str, **attributes: str) -> list[Element]:
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        here = [e for e in self.inside if e.tag == tag and wanted.items() <= e.attributes.items()]
        return here + [found for e in self.inside for found in e.find(tag, **attributes)]

    def one(self, tag: str, **attributes: str) -> Element:
        (found,) = self.find(tag, **attributes)
        return found

    @property
    def classes(self) -> set[str]:
        return set((self.attributes.get("class") or "").split())


class Reader(HTMLParser):
    """Builds the tree of a page; fails where elements are not closed in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), attrs
        element = Element(tag, dict(attrs))
        self.open[-1].inside.append(element)
        if tag not in EMPTY:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.words.append(data)


def read(text: str) -> Element:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == [reader.root]
    return reader.root


def status(*nights: NightStatus, **changes: Any) -> Status:
    values = {"telescope": "LST1", "production": "v0.1.0", "clock": MORNING, "log_dir": "/logs"}
    return Status(**{**values, "nights": nights, **changes})


def page(*nights: NightStatus, **changes: Any) -> Element:
    return read(render(status(*nights, **changes)))


def night(word: Word = Word.WAITING, **changes: Any) -> NightStatus:
    return NightStatus(NIGHT, word, **changes)


def section(told: NightStatus) -> Element:
    return page(told).one("section", id_=f"night-{told.night}")


def row(action: Action = Action.CHECK, **changes: Any) -> dict[str, Any]:
    return {**table_rows([Decision(sequence_state(counts={DL1: 3, DL2: 1}), action)])[0], **changes}


FULL = status(
    night(Word.NEEDS_A_PERSON, why="why", troubles=("a\n  b",), rows=(row(),), notes=("note",), alarm="late"),
    replace(night(Word.CLOSED, finished={"timestamp": "t"}, rows=(row(),)), night=Night(date(2020, 1, 26))),
    logs=(LogTail("a.log", MORNING, ("one",)), LogTail("b.log", trouble="cannot be read")),
    troubles=("no logs",),
    other_productions={"DL2": "v7"},
)

# ------------------------------------------------------------------------------ the page itself


def test_page_is_sound() -> None:
    text = render(FULL)
    assert text.startswith("<!DOCTYPE html>\n")
    root = read(text)
    assert root.one("html").attributes["lang"] == "en"
    assert root.one("title").text and len(root.find("h1")) == len(root.find("main")) == 1
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    links = [link.attributes["href"] for link in root.find("a")]
    labels = [e.attributes["aria-labelledby"] for e in root.find("section")]
    assert {f"#{one}" for one in ids} >= {*links, *(f"#{label}" for label in labels)}


def test_page_is_complete_in_itself_and_runs_nothing() -> None:
    text = render(FULL)
    root = read(text)
    assert not any(root.find(tag) for tag in ("script", "link", "img", "iframe", "object"))
    assert not re.search(r"https?:|url\(|@import|\bsrc=|\son\w+=", text)
    said = {e.attributes.get("http-equiv"): e.attributes.get("content") for e in root.find("meta")}
    assert said["refresh"] == "300"
    assert str(said["Content-Security-Policy"]).startswith("default-src 'none';")


def test_time_of_writing_is_told_in_utc() -> None:
    east = MORNING.astimezone(datetime.strptime("+0900", "%z").tzinfo)
    written = page(clock=east).one("p", class_="written")
    assert written.text == "Written 2020-01-28 08:00:03 UTC"
    assert written.one("time").attributes["datetime"] == "2020-01-28T08:00:03Z"


def test_telescope_and_productions_are_told() -> None:
    header = read(render(FULL)).one("header")
    assert "LST1" in header.one("h1").text
    assert "production v0.1.0, DL2 v7" in header.text


@pytest.mark.parametrize("word", list(Word))
def test_state_is_a_word_and_a_colour_both_times(word: Word) -> None:
    root = page(night(word, why="because"))
    link = root.one("nav").one("a")
    assert link.attributes["href"] == "#night-2020-01-27"
    assert link.one("span", class_="word").text == word
    found = root.one("section", id_="night-2020-01-27")
    assert found.one("span", class_="badge").text == word
    assert found.classes == link.classes == {word.replace(" ", "-")}
    assert f".{word.replace(' ', '-')}" in root.one("style").text
    assert "because" in found.text


def test_nights_keep_their_order() -> None:
    nights = [replace(night(), night=Night(date(2020, 1, day))) for day in (27, 26, 25)]
    root = page(*nights)
    dates = ["2020-01-27", "2020-01-26", "2020-01-25"]
    assert [span.text for span in root.one("nav").find("span", class_="date")] == dates
    assert [h2.text for h2 in root.one("main").find("h2")] == [*dates, "Cron"]


@pytest.mark.parametrize(
    ("words", "troubles", "headline"),
    [
        ((Word.CLOSED, Word.NO_DATA), (), "No night needs a person"),
        ((Word.CLOSED, Word.NEEDS_A_PERSON), (), "1 of 2 nights needs a person"),
        ((Word.NEEDS_A_PERSON, Word.NEEDS_A_PERSON), (), "2 of 2 nights need a person"),
        ((Word.NEEDS_A_PERSON,), (), "1 of 1 night needs a person"),
        ((Word.CLOSED, Word.UNKNOWN), (), "Not all is known"),
        ((Word.CLOSED,), ("logs",), "Not all is known"),
    ],
)
def test_headline(words: tuple[Word, ...], troubles: tuple[str, ...], headline: str) -> None:
    nights = [replace(night(word), night=Night(date(2020, 1, 1 + n))) for n, word in enumerate(words)]
    root = page(*nights, troubles=troubles)
    assert root.one("p", class_="headline").text == headline
    assert root.one("title").text == f"LST1: {headline[0].lower()}{headline[1:]}"


def test_unread_silence_on_a_closed_night_is_in_the_headline() -> None:
    root = page(night(Word.CLOSED, troubles=("Slurm's queue gave no answer",)))
    assert root.one("p", class_="headline").text == "Not all is known"


# -------------------------------------------------------------------------------------- a night


def test_table_is_that_of_the_sequencer() -> None:
    records = [record(task=0, state=JobState.RUNNING, host="cp12")]
    state = sequence_state(data_sequence(1874), counts={DL1: 3, DL2: 1}, records=records)
    found = section(night(rows=tuple(table_rows([Decision(state, Action.CHECK)]))))
    heads = found.one("thead").find("th")
    assert tuple(head.text for head in heads) == COLUMNS
    assert {head.attributes["scope"] for head in heads} == {"col"}
    (line,) = found.one("tbody").find("tr")
    cells = dict(zip(COLUMNS, line.inside, strict=True))
    assert cells["Run"].attributes["scope"] == "row" and cells["Run"].text == "01874"
    told = {
        name: cells[name].text for name in ("Source", "State", "Host", "DL1%", "DL2%", "Exit", "Walltime")
    }
    assert told == {
        "Source": "Crab", "State": "RUNNING", "Host": "cp12", "DL1%": "100", "DL2%": "33", "Exit": "-",
        "Walltime": "-",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("head", "value", "tone"),
    [
        ("State", JobState.COMPLETED, "good"),
        ("State", JobState.RUNNING, "busy"),
        ("State", JobState.FAILED, "bad"),
        ("State", JobState.UNKNOWN, "doubt"),
        ("State", None, "nothing"),
        ("Action", Action.VETO, "bad"),
        ("Action", Action.CLOSED, "good"),
        ("Action", Action.CHECK, ""),
        ("Exit", 137, "bad"),
        ("Exit", 0, ""),
        ("DL1%", 100, "good"),
        ("DL1%", 99, "doubt"),
        ("DL1%", 0, ""),
        ("DL1%", None, "nothing"),
        ("Source", "FAILED", ""),
    ],
)
def test_colours_of_cells_come_from_their_values(head: str, value: Any, tone: str) -> None:
    line = section(night(rows=(row(**{head: value}),))).one("tbody")
    cell = dict(zip(COLUMNS, line.find("tr")[0].inside, strict=True))[head]
    assert cell.classes - {"number"} == ({tone} if tone else set())


@pytest.mark.parametrize("state", list(JobState))
def test_no_state_but_success_looks_like_it(state: JobState) -> None:
    found = section(
        night(rows=(row(State=state, **{f"{k}%": 0 for k in ("DL1", "MUONS", "DATACHECK", "DL2")}),))
    )
    assert bool(found.find("td", class_="good")) is (state is JobState.COMPLETED)


def test_table_has_a_box_of_its_own_that_keys_can_scroll() -> None:
    box = section(night(rows=(row(),))).one("div", class_="scroll")
    assert box.attributes["tabindex"] == "0" and box.attributes["aria-label"]
    assert box.find("table")


@pytest.mark.parametrize(("finished", "is_open"), [({"timestamp": "t"}, False), ({}, True)])
def test_tables_of_closed_nights_are_folded(finished: dict[str, str], is_open: bool) -> None:
    found = section(night(finished=finished, rows=(row(), row()), notes=("note",))).one("details")
    assert ("open" in found.attributes) is is_open
    assert found.one("summary").text == "2 sequences, and notes"


def facts(told: NightStatus) -> dict[str, str]:
    found = section(told)
    names, values = found.find("dt"), found.find("dd")
    return {name.text: value.text for name, value in zip(names, values, strict=True)}


FINISHED = {
    "timestamp": "2020-01-28 10:00:00",
    "night": "20200127",
    "telescope": "LST1",
    "data.size": "1.234 GB",
    "data.files.r0": "7",
    "data.files.dl1": "5",
    "data.files.dl2": "5",
    "data.files.muons": "4",
    "data.files.datacheck": "3",
    "data.comment": "none",
}


def test_closed_night_tells_sizes_and_counts() -> None:
    assert facts(night(Word.CLOSED, finished=FINISHED)) == {
        "Raw data": "1.234 GB",
        "R0 files": "7",
        "DL1 files": "5",
        "DL2 files": "5",
        "Muon files": "4",
        "Data checks": "3",
    }


def test_keys_that_nobody_knows_are_told_and_those_that_lack_are_not() -> None:
    assert facts(night(Word.CLOSED, finished={"timestamp": "t", "moon": "full"})) == {"moon": "full"}


def test_time_of_closing_is_told_where_the_state_does_not() -> None:
    assert facts(night(Word.NEEDS_A_PERSON, finished=FINISHED))["Closed (UTC)"] == "2020-01-28 10:00:00"


@pytest.mark.parametrize(
    ("comment", "told"),
    [
        ("One. Two.", None),
        ("One. Two. Night closed without data: moon.", "Night closed without data: moon."),
        ("Something else.", "Something else."),
        ("none", None),
    ],
)
def test_comment_is_not_told_twice(comment: str, told: str | None) -> None:
    one = night(Word.CLOSED, finished={"data.comment": comment}, incidences=("One.", "Two."))
    assert facts(one).get("Comment") == told
    assert {"One.", "Two."} <= {li.text for li in section(one).find("li")}


def test_progress_and_tasks_are_told() -> None:
    told = night(Word.AT_WORK, tasks="3 running", dl2=(2, 5))
    assert facts(told) == {"Tasks": "3 running", "Sub-runs with DL2": "2 of 5"}
    assert page(told).one("nav").one("span", class_="more").text == "DL2 2 of 5"
    assert facts(night()) == {}


@pytest.mark.parametrize("alarm", ["Missing\n  LST1_01874: no DL1\n", ""])
def test_alarm_is_at_hand(alarm: str) -> None:
    found = section(night(Word.NEEDS_A_PERSON, alarm=alarm)).one("details")
    assert "NotClosed.txt" in found.one("summary").text
    assert "".join(found.one("pre").words) == alarm
    assert not section(night(Word.NEEDS_A_PERSON)).find("details")


def test_troubles_and_notes_without_a_table_are_told() -> None:
    found = section(night(Word.NEEDS_A_PERSON, troubles=("a\n  b", "c"), notes=("run 01876 is skipped",)))
    assert ["".join(li.words) for li in found.one("ul", class_="trouble").find("li")] == ["a\n  b", "c"]
    assert "run 01876 is skipped" in found.text


# -------------------------------------------------------------------------------------- the logs


@pytest.mark.parametrize(
    ("before", "age"),
    [
        (timedelta(0), "0 min ago"),
        (timedelta(seconds=-30), "0 min ago"),
        (timedelta(minutes=-10), "in the future"),
        (timedelta(minutes=119), "119 min ago"),
        (timedelta(hours=2), "2 h ago"),
        (timedelta(hours=47, minutes=59), "47 h ago"),
        (timedelta(days=3, hours=1), "3 days ago"),
    ],
)
def test_age_of_a_log(before: timedelta, age: str) -> None:
    root = page(logs=(LogTail("closer.log", MORNING - before, ("one", "two")),))
    assert root.one("p", class_="alive").text == f"Cron's logs, when this was written: closer.log {age}."
    found = root.one("section", id_="cron")
    assert f"{MORNING - before:%Y-%m-%d %H:%M:%S} UTC, {age}" in found.text
    assert "".join(found.one("pre").words) == "one\ntwo"


def test_logs_that_say_nothing() -> None:
    root = page(logs=(LogTail("a.log", MORNING), LogTail("b.log", trouble="cannot be read: no")))
    assert root.one("p", class_="alive").text.endswith("a.log 0 min ago, b.log not known.")
    found = root.one("section", id_="cron")
    assert "It is empty." in found.text and "cannot be read: no" in found.text


def test_no_logs_are_told() -> None:
    root = page()
    assert root.one("p", class_="alive").text == "Cron's logs, when this was written: there are none."
    assert "There is no log in /logs" in root.one("section", id_="cron").text


# ------------------------------------------------------------------------------- what is hostile


def everywhere(text: str) -> Status:
    """Put a text wherever one comes from outside."""
    one = night(
        Word.NEEDS_A_PERSON,
        why=text,
        troubles=(text,),
        tasks=text,
        finished={text: text, "timestamp": text, "data.size": text, "data.comment": text},
        rows=(row(**dict.fromkeys(COLUMNS, text)),),
        notes=(text,),
        incidences=("x", text),
        alarm=text,
    )
    logs = (LogTail(text, MORNING, (text,)), LogTail(text, trouble=text))
    return status(
        one, logs=logs, troubles=(text,), telescope=text, production=text, other_productions={text: text}
    )


def tags(root: Element) -> list[str]:
    return [root.tag, *(tag for element in root.inside for tag in tags(element))]


def attribute_names(root: Element) -> set[str]:
    return {*root.attributes, *(name for element in root.inside for name in attribute_names(element))}


def test_everything_from_outside_is_text() -> None:
    evil, harmless = read(render(everywhere(EVIL))), read(render(everywhere("zqx")))
    assert tags(evil) == tags(harmless)
    assert attribute_names(evil) == attribute_names(harmless)
    assert evil.text.count(EVIL) == harmless.text.count("zqx") > 30


@pytest.mark.parametrize("template", ["{{ 7 * 7 }}", "{% for %}", "{# note #}"])
def test_nothing_from_outside_is_taken_for_the_template(template: str) -> None:
    found = section(night(why=template))
    assert template in found.text


def test_what_no_page_may_hold_is_replaced() -> None:
    text = render(everywhere("a\x00b\x1b[31mc\udcffd\u202ee\tf\ng\r"))
    text.encode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert "a b [31mc d e\tf\ng " in text
