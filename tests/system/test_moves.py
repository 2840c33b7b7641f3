"""Moving a file: nothing is overwritten, and the source goes last."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from moving import verified_move

from osa.errors import OsaError
from osa.system import moves
from osa.system.moves import (
    Arrived,
    bring_file,
    forget_partial,
    make_folder,
    remove_source,
)

FAULTS = [errno.ENOSPC, errno.EIO]
CONTENT = b"content" * 1000


@pytest.fixture(params=["same file system", "other file system"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "same file system":
        return tmp_path / "final" / "product.h5"
    return request.getfixturevalue("elsewhere") / "final" / "product.h5"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "work" / "product.h5"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# ---------------------------------------------------------------------------- one move


def test_a_file_is_moved(source: Path, target: Path) -> None:
    os.utime(source, ns=(1, 1_600_000_000_123_456_789))
    source.chmod(0o640)
    assert verified_move(source, target) is True
    assert target.read_bytes() == CONTENT
    assert not source.exists()
    assert names(target.parent) == {"product.h5"}
    found = target.stat()
    assert (found.st_mtime_ns, stat.S_IMODE(found.st_mode)) == (1_600_000_000_123_456_789, 0o640)


def test_a_file_longer_than_a_block(source: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "_BLOCK", 1000)
    verified_move(source, elsewhere / "product.h5")
    assert (elsewhere / "product.h5").read_bytes() == CONTENT


def test_blocks_that_are_written_only_in_part(
    source: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, block: write(descriptor, bytes(block[:300])))
    verified_move(source, elsewhere / "product.h5")
    assert (elsewhere / "product.h5").read_bytes() == CONTENT


def test_an_empty_file_is_moved(source: Path, target: Path) -> None:
    source.write_bytes(b"")
    verified_move(source, target)
    assert target.read_bytes() == b""
    assert not source.exists()


def test_a_move_that_was_done_is_not_done_again(source: Path, target: Path) -> None:
    verified_move(source, target)
    assert verified_move(source, target) is False
    assert target.exists()


def test_a_move_without_source_and_target_is_an_error(tmp_path: Path, target: Path) -> None:
    with pytest.raises(OsaError, match="neither it nor"):
        verified_move(tmp_path / "missing", target)


def test_the_same_file_at_the_target_ends_a_move_that_was_cut_short(source: Path, target: Path) -> None:
    target.parent.mkdir()
    shutil.copy(source, target)
    assert verified_move(source, target) is True
    assert target.exists()
    assert not source.exists()


@pytest.mark.parametrize("other", [b"other", b"CONTENT" * 1000], ids=["other size", "same size"])
def test_another_file_at_the_target_is_kept_and_so_is_the_source(
    source: Path, target: Path, other: bytes
) -> None:
    target.parent.mkdir()
    target.write_bytes(other)
    with pytest.raises(OsaError, match="differs from"):
        verified_move(source, target)
    assert (target.read_bytes(), source.read_bytes()) == (other, CONTENT)


# ------------------------------------------------------------------------------ faults


@pytest.mark.parametrize("code", FAULTS)
@pytest.mark.parametrize("after", range(4))
def test_the_source_stays_until_the_target_is_durable(
    source: Path, target: Path, break_os: Callable[..., None], code: int, after: int
) -> None:
    is_same = target.is_relative_to(source.parents[1])
    break_os("fsync", code, after=after)  # of the new folder, the content, the names, those of the source
    with pytest.raises(OSError, match=os.strerror(code)):
        verified_move(source, target)
    if after < 2 or (after < 3 and not is_same):
        assert source.read_bytes() == CONTENT
    assert (source if source.exists() else target).read_bytes() == CONTENT
    assert not target.parent.exists() or names(target.parent) <= {"product.h5"}


def test_the_same_file_at_the_target_is_made_durable_first(
    source: Path, target: Path, break_os: Callable[..., None]
) -> None:
    target.parent.mkdir()
    shutil.copy(source, target)
    break_os("fsync", errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        verified_move(source, target)
    assert source.exists()


def test_a_copy_that_differs_is_not_moved(
    source: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, block: write(descriptor, bytes(len(block))))
    with pytest.raises(OsaError, match="differs from it: not moved"):
        verified_move(source, elsewhere / "product.h5")
    assert source.exists()
    assert names(elsewhere) == set()


def test_a_full_target_leaves_the_source(
    source: Path, elsewhere: Path, break_os: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moves, "_BLOCK", 1000)
    break_os("write", errno.ENOSPC, after=3)
    with pytest.raises(OSError, match="No space"):
        verified_move(source, elsewhere / "product.h5")
    assert source.exists()
    assert names(elsewhere) == set()


def test_a_source_that_changes_while_it_is_copied_stays(source: Path, elsewhere: Path) -> None:
    target = elsewhere / "product.h5"
    arrived = bring_file(source, target)
    assert arrived.sha256 is not None and arrived.left is not None
    source.write_bytes(CONTENT + b"more")
    with pytest.raises(OsaError, match="was changed while it was copied"):
        remove_source(source, arrived)
    assert source.read_bytes() == CONTENT + b"more"


def test_a_source_that_somebody_removed_meanwhile_needs_no_removing(source: Path, elsewhere: Path) -> None:
    arrived = bring_file(source, elsewhere / "product.h5")
    source.unlink()
    remove_source(source, arrived)
    assert (elsewhere / "product.h5").read_bytes() == CONTENT


def test_what_was_renamed_leaves_nothing_to_remove(source: Path, tmp_path: Path) -> None:
    arrived = bring_file(source, tmp_path / "product.h5")
    assert arrived == Arrived(len(CONTENT))
    source.write_bytes(b"made again")
    remove_source(source, arrived)
    assert source.exists()


def test_a_boundary_that_only_the_kernel_sees_is_crossed_by_copy(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bind mount has the same device number, and rename fails there all the same."""
    replace, target = os.replace, tmp_path / "mount" / "product.h5"

    def refuse(made: Path, final: Path) -> None:
        if Path(made).parent != Path(final).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(made, final)

    monkeypatch.setattr(os, "replace", refuse)
    assert verified_move(source, target) is True
    assert target.exists()
    assert not source.exists()


def test_a_folder_that_is_not_durable_is_made_again(tmp_path: Path, break_os: Callable[..., None]) -> None:
    break_os("fsync", errno.EIO, after=1)
    with pytest.raises(OSError, match="Input/output"):
        make_folder(tmp_path / "a" / "b" / "c")
    assert not (tmp_path / "a" / "b").exists()


def test_what_is_left_of_a_copy_goes_unless_it_is_all_that_is_left(source: Path, tmp_path: Path) -> None:
    target, partial = tmp_path / "product.h5", tmp_path / ".product.h5.partial"
    partial.write_bytes(b"cont")
    forget_partial(source, target)
    assert not partial.exists()
    partial.write_bytes(b"cont")
    source.unlink()
    forget_partial(source, target)
    assert partial.exists()


def test_what_is_left_of_a_copy_is_not_written_through(source: Path, elsewhere: Path) -> None:
    """A link under the temporary name must not lead the copy elsewhere."""
    (elsewhere / ".product.h5.partial").symlink_to(elsewhere / "precious")
    (elsewhere / "precious").write_bytes(b"kept")
    verified_move(source, elsewhere / "product.h5")
    assert (elsewhere / "precious").read_bytes() == b"kept"
    assert not (elsewhere / "product.h5").is_symlink()


# ------------------------------------------------------------------- links and aliases


def test_a_file_moved_to_itself_is_not_lost(source: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(source.parent)
    assert verified_move(source, source) is False
    assert verified_move(source, tmp_path / "alias" / source.name) is False
    assert source.exists()


def test_a_second_name_of_the_source_may_be_the_target(source: Path, tmp_path: Path) -> None:
    (tmp_path / "product.h5").hardlink_to(source)
    assert verified_move(source, tmp_path / "product.h5") is True
    assert (tmp_path / "product.h5").read_bytes() == CONTENT
    assert not source.exists()


def test_one_file_at_two_places_of_the_tree_is_not_removed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a folder is mounted at both: device and number are the same, and there is one name."""
    found = os.lstat(source)
    monkeypatch.setattr(os, "lstat", lambda _path: found)
    assert verified_move(source, tmp_path / "mount" / "product.h5") is False
    assert source.exists()


@pytest.mark.parametrize("leads_to", ["source", "nowhere"])
def test_a_link_at_the_target_is_neither_followed_nor_replaced(
    source: Path, tmp_path: Path, leads_to: str
) -> None:
    link = tmp_path / "link"
    link.symlink_to(source if leads_to == "source" else tmp_path / "nowhere")
    with pytest.raises(OsaError, match="is a symbolic link"):
        verified_move(source, link)
    assert source.exists()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("leads_to", ["a file", "nowhere"])
def test_a_link_as_source_is_neither_followed_nor_moved(
    source: Path, target: Path, tmp_path: Path, leads_to: str
) -> None:
    link = tmp_path / "link"
    link.symlink_to(Path("work") / ("product.h5" if leads_to == "a file" else "nothing"))
    with pytest.raises(OsaError, match="is a symbolic link"):
        verified_move(link, target)
    assert link.is_symlink()
    assert source.read_bytes() == CONTENT
    assert not target.exists()


def test_what_is_no_file_is_not_moved(source: Path, tmp_path: Path) -> None:
    with pytest.raises(OsaError, match="is no regular file"):
        verified_move(source.parent, tmp_path / "final")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OsaError, match="is no regular file"):
        verified_move(source, tmp_path / "folder")
    assert source.exists()
