"""Files by identifier, path, hash and name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from osa.database.find import find_entity
from osa.database.ingest import ingest_lineage
from osa.errors import InputError
from osa.provenance.lineage import Lineage
from tests.database.made_up import CONFIG, LATER, NIGHT, PROD, Story, calibrate, file, observe, raw, sha


@pytest.fixture
def story(connection: Connection) -> Story:
    story = Story()
    observe(story, calibrate(story))
    ingest_lineage(connection, story.lineage, PROD)
    return story


def test_every_way_leads_to_the_file(connection: Connection, story: Story) -> None:
    (dl2,) = find_entity(connection, "dl2_LST-1.Run01874.0000.h5")
    assert dl2.sha256 is not None
    for text in (
        dl2.id,
        dl2.location,
        f"/work/../work/./{NIGHT}/{dl2.name}",
        dl2.sha256,
        dl2.sha256.upper(),
        f"sha256-{dl2.sha256}",
        f"sha256:{dl2.sha256[:12]}",
        dl2.sha256[:8],
    ):
        assert find_entity(connection, text) == [dl2], text
    folder = Path("/work")
    assert find_entity(connection, f"{NIGHT}/{dl2.name}", directory=folder) == [dl2]
    assert find_entity(connection, dl2.name, directory=folder / NIGHT) == [dl2]
    assert find_entity(connection, dl2.name, directory=folder) == [dl2]
    assert find_entity(connection, dl2.location, directory=Path("/elsewhere")) == [dl2]
    assert find_entity(connection, dl2.sha256[:7]) == []
    assert find_entity(connection, f"{NIGHT}/{dl2.name}") == []
    assert find_entity(connection, "") == []


def test_raw_files_and_configurations_are_found(connection: Connection, story: Story) -> None:
    (r0,) = find_entity(connection, "LST-1.1.Run01874.0000.fits.fz")
    assert (r0.run, r0.subrun, r0.made_by) == (1874, 0, None)
    assert r0.sample == raw(1874, 0).sample
    for text in (r0.id, r0.sample, r0.sample[:10], f"sample-{r0.sample}"):
        assert find_entity(connection, text) == [r0]
    assert CONFIG.sha256 is not None
    (config,) = find_entity(connection, CONFIG.sha256)
    assert config.name == "standard.json"


def test_a_name_in_several_nights_gives_all_the_newest_first(connection: Connection, story: Story) -> None:
    later = Story(LATER)
    observe(later, calibrate(later))
    observe(later, calibrate(later), content="again")
    ingest_lineage(connection, later.lineage, PROD)

    found = find_entity(connection, "dl2_LST-1.Run01874.0000.h5")
    assert [(entity.night, entity.replaced_at is None) for entity in found] == [
        (LATER, True),
        (NIGHT, True),
        (LATER, False),
    ]
    here = find_entity(connection, "dl2_LST-1.Run01874.0000.h5", directory=Path(f"/work/{NIGHT}"))
    assert [entity.night for entity in here] == [NIGHT]


def test_the_beginning_of_several_hashes_is_refused(connection: Connection) -> None:
    story = Story()
    story.add("step", (), (file("/a.h5"), file("/b.h5")))
    lineage = story.lineage
    entities = {
        key: replace(entity, sha256=f"abcdef012{number}" + "0" * 54) if entity.made_by else entity
        for number, (key, entity) in enumerate(lineage.entities.items())
    }
    ingest_lineage(connection, Lineage(lineage.tries, entities, lineage.uses), PROD)
    with pytest.raises(InputError, match=r"abcdef01 is the beginning of 2 hashes: .*give more digits"):
        find_entity(connection, "abcdef01")
    assert len(find_entity(connection, "abcdef0120")) == 1


def test_the_same_content_twice_is_two_files(connection: Connection) -> None:
    story = Story()
    for name in ("/a.h5", "/b.h5"):
        story.add("step", (), (file(name, content="same"),))
    ingest_lineage(connection, story.lineage, PROD)
    assert [entity.name for entity in find_entity(connection, sha("same")[:8])] == ["b.h5", "a.h5"]


def test_a_file_that_is_named_like_a_hash_is_found_by_its_name(connection: Connection) -> None:
    story = Story()
    story.add("step", (), (file("/deadbeef"),))
    ingest_lineage(connection, story.lineage, PROD)
    assert [entity.name for entity in find_entity(connection, "deadbeef")] == ["deadbeef"]


@pytest.mark.parametrize(
    "text", ["%", "dl2%", "' OR 1=1 --", "\0", "x" * 10_000, "/" * 5000, "..", "sha256-"]
)
def test_odd_questions_have_no_answer(connection: Connection, story: Story, text: str) -> None:
    assert find_entity(connection, text) == []
    assert find_entity(connection, text, directory=Path("/work")) == []
