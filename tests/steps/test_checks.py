"""Checks of products, on small files that are shaped and compressed as lstchain's are."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tables
from astropy.io import fits

from osa.errors import ProductError
from osa.steps import checks
from osa.steps.checks import (
    check_charge_calibration,
    check_datacheck,
    check_dl1,
    check_dl2,
    check_drs4_pedestal,
    check_interleaved,
    check_muons,
    check_pdf,
    check_time_calibration,
    event_count,
    raw_event_count,
)

ROOT = Path(__file__).parents[2]
# lstchain.io.io.HDF5_ZSTD_FILTERS
FILTERS = tables.Filters(complevel=5, complib="blosc:zstd", fletcher32=True)
RANDOM = np.random.default_rng(1)
N_EVENTS = 200


def write_table(file: tables.File, name: str, rows: np.ndarray) -> None:
    parent, _, leaf = name.rpartition("/")
    file.create_table(f"/{parent}", leaf, rows, filters=FILTERS, createparents=True)


def event_rows(columns: dict[str, object], n_events: int, run: int) -> np.ndarray:
    rows = np.zeros(n_events, dtype=[("obs_id", "i8"), ("event_id", "i8"), *columns.items()])
    rows["obs_id"], rows["event_id"] = run, np.arange(1, n_events + 1)
    for name in columns:
        rows[name] = RANDOM.normal(size=rows[name].shape)
    return rows


def write_dl1(path: Path, *, run: int = 1874, n_events: int = N_EVENTS, n_images: int | None = None) -> Path:
    with tables.open_file(path, "w") as file:
        images = event_rows({"image": ("f4", 50)}, n_events if n_images is None else n_images, run)
        write_table(file, checks.DL1_PARAMETERS, event_rows({"intensity": "f8"}, n_events, run))
        write_table(file, checks.DL1_IMAGES, images)
    return path


def write_dl2(path: Path, *, run: int = 1874, n_events: int = N_EVENTS, last: str = "reco_alt") -> Path:
    columns = dict.fromkeys(("reco_energy", "gammaness", last), "f8")
    with tables.open_file(path, "w") as file:
        write_table(file, checks.DL2_PARAMETERS, event_rows(columns, n_events, run))
    return path


def write_datacheck(path: Path, *, subruns: tuple[int, ...] = (0,)) -> Path:
    rows = np.zeros(len(subruns), dtype=[("subrun_index", "i8"), ("charge_mean", "f8", 1855)])
    rows["subrun_index"], rows["charge_mean"] = subruns, RANDOM.normal(size=(len(subruns), 1855))
    with tables.open_file(path, "w") as file:
        for name in ("pedestals", "flatfield", "cosmics"):
            write_table(file, f"dl1datacheck/{name}", rows)
    return path


def write_interleaved(path: Path, *, n_events: int = N_EVENTS) -> Path:
    with tables.open_file(path, "w") as file:
        rows = event_rows({"waveform": ("f4", 100)}, n_events, 1874)
        write_table(file, "r1/event/telescope/tel_001", rows)
    return path


def write_time_calibration(path: Path, *, shape=(2, 1855, 4), bad: float | None = None) -> Path:
    values = RANDOM.normal(size=shape)
    if bad is not None:
        values[1, 7] = bad
    with tables.open_file(path, "w") as file:
        file.create_array("/", "fan", np.ones(shape))
        file.create_array("/", "fbn", values)
    return path


def write_charge_calibration(path: Path, *, without: str = "", empty: str = "") -> Path:
    rows = np.zeros(1, dtype=[("charge_mean", "f8", (2, 1855))])
    rows["charge_mean"] = RANDOM.normal(size=(2, 1855))
    with tables.open_file(path, "w") as file:
        for name in {"calibration", "flatfield", "pedestal", "pixel_status"} - {without}:
            write_table(file, f"tel_1/{name}", rows[: 0 if name == empty else 1])
    return path


def write_drs4(path: Path, *, shape=(2, 1855, 4096), rows: int = 1) -> Path:
    with tables.open_file(path, "w") as file:
        data = np.zeros(rows, dtype=[("baseline_mean", "i2", shape)])
        write_table(file, "r1/monitoring/drs4_baseline/tel_001", data)
    return path


def write_muons(path: Path, *, rows: int = 200) -> Path:
    columns = [
        fits.Column("event_id", "K", array=np.arange(1, rows + 1)),
        fits.Column("ring_size", "D", array=RANDOM.normal(size=rows)),
    ]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(path)
    return path


@pytest.fixture
def dl1(tmp_path):
    return write_dl1(tmp_path / "dl1_LST-1.Run01874.0000.h5")


@pytest.fixture
def muons(tmp_path):
    return write_muons(tmp_path / "muons_LST-1.Run01874.0000.fits")


PRODUCTS = {
    "dl1": ("dl1_LST-1.Run01874.0000.h5", write_dl1, partial(check_dl1, run=1874)),
    "dl2": ("dl2_LST-1.Run01874.0000.h5", write_dl2, None),
    "datacheck": (
        "datacheck_dl1_LST-1.Run01874.0000.h5",
        write_datacheck,
        partial(check_datacheck, run=1874, subruns=(0,)),
    ),
    "interleaved": ("interleaved_LST-1.Run01874.0000.h5", write_interleaved, check_interleaved),
    "time": ("time_calibration.Run01873.0000.h5", write_time_calibration, check_time_calibration),
    "charge": ("calibration.Run01873.0000.h5", write_charge_calibration, check_charge_calibration),
    "muons": ("muons_LST-1.Run01874.0000.fits", write_muons, partial(check_muons, run=1874)),
}


@pytest.fixture(params=PRODUCTS)
def product(request, tmp_path):
    """Every kind of product, good, with its check."""
    name, write, check = PRODUCTS[request.param]
    if check is None:
        check = partial(check_dl2, run=1874, dl1=write_dl1(tmp_path / "dl1_LST-1.Run01874.0000.h5"))
    path = write(tmp_path / name)
    return path, check


# ------------------------------------------------------------------------ every product


def test_a_good_product_is_accepted(product):
    path, check = product
    before = path.read_bytes()
    assert check(path) is None
    assert path.read_bytes() == before


def test_a_missing_product(product):
    path, check = product
    path.unlink()
    with pytest.raises(ProductError, match=f"{path.name} is not there"):
        check(path)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.99, "all but a byte"])
def test_a_product_that_is_cut_short(product, share):
    path, check = product
    size = path.stat().st_size
    os.truncate(path, size - 1 if share == "all but a byte" else int(share * size))
    with pytest.raises(ProductError, match=path.name) as caught:
        check(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.75])
def test_a_product_with_a_tail_of_zeros(product, share):
    path, check = product
    data = path.read_bytes()
    kept = int(share * len(data))
    path.write_bytes(data[:kept] + bytes(len(data) - kept))
    with pytest.raises(ProductError, match=path.name):
        check(path)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n", b"SIMPLE  =  T", bytes(5760)])
def test_a_file_of_another_kind(product, content):
    path, check = product
    path.write_bytes(content)
    with pytest.raises(ProductError, match=r"cannot be read|cut short|no table"):
        check(path)


def test_a_folder_in_its_place(product):
    path, check = product
    path.unlink()
    path.mkdir()
    with pytest.raises(ProductError, match=path.name):
        check(path)


def test_a_product_without_tables(product):
    path, check = product
    if path.suffix == ".fits":
        fits.PrimaryHDU().writeto(path, overwrite=True)
    else:
        tables.open_file(path, "w").close()
    if path.name.startswith("interleaved"):
        assert check(path) is None  # there may be no interleaved event
        return
    with pytest.raises(ProductError, match=r"has no (table|group)"):
        check(path)


def test_running_out_of_memory_says_nothing_about_a_product(product, monkeypatch):
    path, check = product

    def full(*_args, **_kwargs):
        raise MemoryError

    if path.suffix == ".fits":
        monkeypatch.setattr(fits, "open", full)
    else:
        monkeypatch.setattr(tables, "open_file", full)
    with pytest.raises(MemoryError):
        check(path)


def test_checks_do_not_count_on_what_others_imported(dl1):
    """lstchain's compression is known to PyTables only: h5py alone cannot read its tables."""
    code = "import sys; from pathlib import Path; from osa.steps.checks import check_dl1 as c\n"
    code += "c(Path(sys.argv[1]), run=1874)"
    told = subprocess.run(
        [sys.executable, "-c", code, str(dl1)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")


# --------------------------------------------------------------------------------- DL1


@pytest.fixture
def raw_file(tmp_path):
    """The headers of raw files of two streams, 120 and 80 events."""

    def write(stream: int, n_events: int, **cards: int) -> Path:
        table = fits.BinTableHDU.from_columns(
            [fits.Column("event_id", "K", array=np.arange(n_events))], name="Events"
        )
        table.header.update(cards)
        path = tmp_path / f"LST-1.{stream}.Run01874.0000.fits.fz"
        table.writeto(path)
        return path

    write(2, 80)
    return write(1, 120)


def test_events_of_all_streams_are_counted(raw_file):
    assert raw_event_count(raw_file) == 200


def test_events_of_other_subruns_are_not_counted(raw_file):
    (raw_file.parent / "LST-1.1.Run01874.0001.fits.fz").write_bytes(raw_file.read_bytes())
    assert raw_event_count(raw_file) == 200


def test_a_compressed_raw_file_tells_rows_and_not_tiles(raw_file):
    with fits.open(raw_file, mode="update") as hdus:
        hdus["Events"].header["ZNAXIS2"] = 1000
    assert raw_event_count(raw_file) == 1080


def test_a_missing_raw_file(tmp_path):
    with pytest.raises(ProductError, match="is not there"):
        raw_event_count(tmp_path / "LST-1.1.Run01874.0000.fits.fz")


@pytest.mark.parametrize("content", [b"", b"SIMPLE", bytes(2880)])
def test_a_torn_raw_file(raw_file, content):
    raw_file.write_bytes(content)
    with pytest.raises(ProductError, match="raw file"):
        raw_event_count(raw_file)


@pytest.mark.parametrize(("n_events", "is_good"), [(200, True), (195, True), (194, False), (201, False)])
def test_nearly_all_events_of_the_raw_files_are_expected(tmp_path, raw_file, n_events, is_good):
    path = write_dl1(tmp_path / "dl1.h5", n_events=n_events)
    if is_good:
        assert check_dl1(path, run=1874, raw_file=raw_file) is None
    else:
        with pytest.raises(ProductError, match=f"has {n_events} events, its raw files 200"):
            check_dl1(path, run=1874, raw_file=raw_file)


@pytest.mark.parametrize("write", [write_dl1, write_dl2])
def test_another_run_inside(tmp_path, dl1, write):
    path = write(tmp_path / "x_LST-1.Run01875.0000.h5")
    check = check_dl1 if write is write_dl1 else partial(check_dl2, dl1=dl1)
    with pytest.raises(ProductError, match=r"holds events of run\(s\) \[1874\], not of 1875"):
        check(path, run=1875)


def test_two_runs_inside(tmp_path):
    rows = event_rows({"intensity": "f8"}, 10, 1874)
    rows["obs_id"][-1] = 1875
    path = tmp_path / "dl1.h5"
    with tables.open_file(path, "w") as file:
        write_table(file, checks.DL1_PARAMETERS, rows)
    with pytest.raises(ProductError, match=r"\[1874, 1875\]"):
        check_dl1(path, run=1874)


def test_no_event(tmp_path):
    with pytest.raises(ProductError, match=r"parameters/LST_LSTCam is empty"):
        check_dl1(write_dl1(tmp_path / "dl1.h5", n_events=0), run=1874)


def test_images_of_other_events(tmp_path):
    path = write_dl1(tmp_path / "dl1.h5", n_images=N_EVENTS - 1)
    with pytest.raises(ProductError, match="200 rows of parameters, 199 images"):
        check_dl1(path, run=1874)


def test_damage_in_the_images_is_found(dl1):
    """Parameters are whole; only reading the images shows that they are not."""
    with tables.open_file(dl1) as file:
        chunk = file.get_node(f"/{checks.DL1_IMAGES}").chunk_info((0,))
    data = bytearray(dl1.read_bytes())
    data[chunk.offset + chunk.size // 2] ^= 0x10
    dl1.write_bytes(data)
    with pytest.raises(ProductError, match="cannot be read"):
        check_dl1(dl1, run=1874)


def test_rows_are_counted(dl1):
    assert event_count(dl1, checks.DL1_PARAMETERS) == N_EVENTS
    with pytest.raises(ProductError, match="has no table nowhere"):
        event_count(dl1, "nowhere")


# ----------------------------------------------------------------------------- the rest


def test_dl2_may_have_fewer_events_than_dl1(tmp_path, dl1):
    path = write_dl2(tmp_path / "dl2.h5", n_events=10)
    assert check_dl2(path, run=1874, dl1=dl1) is None


def test_dl2_with_events_of_another_subrun(tmp_path, dl1):
    path = write_dl2(tmp_path / "dl2.h5", n_events=N_EVENTS + 1)
    with pytest.raises(ProductError, match=f"has events that are not in {dl1.name}"):
        check_dl2(path, run=1874, dl1=dl1)


def test_dl2_without_a_column(tmp_path, dl1):
    path = write_dl2(tmp_path / "dl2.h5", last="other")
    with pytest.raises(ProductError, match="lacks the columns reco_alt"):
        check_dl2(path, run=1874, dl1=dl1)


def test_dl2_without_the_table_of_events(tmp_path, dl1):
    """What lstchain leaves where no event passes its filters."""
    path = tmp_path / "dl2.h5"
    with tables.open_file(path, "w") as file:
        write_table(file, "dl1/event/telescope/monitoring/pedestal", event_rows({"x": "f8"}, 1, 1874))
    with pytest.raises(ProductError, match="has no table dl2/"):
        check_dl2(path, run=1874, dl1=dl1)


def test_dl2_of_a_torn_dl1(tmp_path, dl1):
    path = write_dl2(tmp_path / "dl2.h5")
    dl1.write_bytes(b"torn")
    with pytest.raises(ProductError, match=dl1.name):
        check_dl2(path, run=1874, dl1=dl1)


@pytest.mark.parametrize("found", [(1,), (0, 0), (0, 1)])
def test_datacheck_of_other_subruns(tmp_path, found):
    path = write_datacheck(tmp_path / "datacheck_dl1_LST-1.Run01874.0000.h5", subruns=found)
    with pytest.raises(ProductError, match="holds sub-runs"):
        check_datacheck(path, run=1874, subruns=(0,))


def test_datacheck_of_a_run(tmp_path):
    path = write_datacheck(tmp_path / "datacheck_dl1_LST-1.Run01874.h5", subruns=(2, 0))
    assert check_datacheck(path, run=1874, subruns=(0, 2)) is None
    with pytest.raises(ProductError, match=r"holds sub-runs \[0, 2\]; expected \[0, 1, 2\]"):
        check_datacheck(path, run=1874, subruns=(0, 1, 2))


@pytest.mark.parametrize("run", [1875, 187, 11874])
def test_products_that_tell_their_run_by_name_only(tmp_path, muons, run):
    path = write_datacheck(tmp_path / "datacheck_dl1_LST-1.Run01874.0000.h5")
    with pytest.raises(ProductError, match=f"is not of run {run}"):
        check_datacheck(path, run=run, subruns=(0,))
    with pytest.raises(ProductError, match=f"is not of run {run}"):
        check_muons(muons, run=run)


def test_a_subrun_may_have_no_muon(tmp_path):
    path = write_muons(tmp_path / "muons_LST-1.Run01874.0001.fits", rows=0)
    assert check_muons(path, run=1874) is None


def test_a_subrun_may_have_no_interleaved_event(tmp_path):
    assert check_interleaved(write_interleaved(tmp_path / "interleaved.h5", n_events=0)) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_time_calibration_of_every_pixel(tmp_path, bad):
    path = write_time_calibration(tmp_path / "time.h5", bad=bad)
    with pytest.raises(ProductError, match=r"fbn is (not finite for every|zero for some) pixel"):
        check_time_calibration(path)


def test_time_calibration_of_another_camera(tmp_path):
    path = write_time_calibration(tmp_path / "time.h5", shape=(1, 1855, 4))
    with pytest.raises(ProductError, match="fan"):
        check_time_calibration(path)


@pytest.mark.parametrize("name", ["calibration", "flatfield", "pedestal", "pixel_status"])
def test_charge_calibration_needs_all_its_tables(tmp_path, name):
    with pytest.raises(ProductError, match=f"has no table tel_1/{name}"):
        check_charge_calibration(write_charge_calibration(tmp_path / "a.h5", without=name))
    with pytest.raises(ProductError, match=f"table tel_1/{name} is empty"):
        check_charge_calibration(write_charge_calibration(tmp_path / "b.h5", empty=name))


def test_drs4_pedestal(tmp_path):
    path = write_drs4(tmp_path / "drs4.h5")
    assert check_drs4_pedestal(path) is None
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ProductError, match="cannot be read"):
        check_drs4_pedestal(path)


def test_drs4_pedestal_of_another_shape_or_none(tmp_path):
    with pytest.raises(ProductError, match=r"baseline has shape \(2, 1855, 1024\)"):
        check_drs4_pedestal(write_drs4(tmp_path / "a.h5", shape=(2, 1855, 1024)))
    with pytest.raises(ProductError, match="is empty"):
        check_drs4_pedestal(write_drs4(tmp_path / "b.h5", rows=0))
    with pytest.raises(ProductError, match="has no table"):
        check_drs4_pedestal(write_interleaved(tmp_path / "c.h5"))


@pytest.mark.parametrize(
    ("content", "is_good"),
    [
        (b"%PDF-1.4\n" + bytes(2000) + b"%%EOF\n", True),
        (b"%PDF-1.4\n" + bytes(2000), False),
        (b"%PDF-1.4\n%%EOF" + bytes(2000), False),
        (b"text %%EOF", False),
        (b"", False),
    ],
)
def test_a_pdf_is_written_to_its_end(tmp_path, content, is_good):
    path = tmp_path / "plot.pdf"
    path.write_bytes(content)
    if is_good:
        assert check_pdf(path) is None
    else:
        with pytest.raises(ProductError, match="is no complete PDF"):
            check_pdf(path)


def test_a_missing_pdf(tmp_path):
    with pytest.raises(ProductError, match="cannot be read"):
        check_pdf(tmp_path / "missing.pdf")


@pytest.mark.slow
def test_names_are_those_of_lstchain():
    from lstchain.io import io as names

    assert f"/{checks.DL1_PARAMETERS}" == names.dl1_params_lstcam_key
    assert f"/{checks.DL1_IMAGES}" == names.dl1_images_lstcam_key
    assert f"/{checks.DL2_PARAMETERS}" == names.dl2_params_lstcam_key
    assert FILTERS.complib == names.HDF5_ZSTD_FILTERS.complib
    assert FILTERS.fletcher32 == names.HDF5_ZSTD_FILTERS.fletcher32
