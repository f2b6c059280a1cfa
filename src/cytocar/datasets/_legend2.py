"""The simulated LEGEND-2-like study: one patient, four blood samples after LCAR-B38M, all of it known.

It follows the mass cytometry of Xu et al. 2024, J Hematol Oncol (doi:10.1186/s13045-024-01530-z): the share of CAR-T
cells falls from 3.01 to 0.24 % of CD45+ cells while CD4-CD8- cells become nine tenths of them. Populations and clusters
are in ``sim_params_resolved.csv`` and ``sim_composition.csv`` below ``data``, spillover in ``spillover_measured.csv``.

What the design leaves open was chosen as follows.

=====================  ==================================================================================
host cells             the given percentages, scaled so that host and CAR-T cells make up all CD45+ cells
B cells                four fifths naive, one fifth memory
whole numbers          shares are rounded down, what is missing goes to the largest remainders; CAR-T cells are
                       divided into CD4, CD8 and DN first, then into clusters
cycling cells          5 % of the cells drawn Ki67+ have 1.6 to 2 times the DNA
false positives        host T cells that draw their VHH signal from that of the CAR-T cells
doublets               two random cells of the file's own mix; Gaussian residual x 1.6, width x 1.15
dead cells             a random cell: 40 to 100 % of its antigens, 70 to 100 % of its DNA; half of the antibodies stick
                       (exponential, 4 counts)
debris                 10 to 30 % of the DNA of a random cell, and an independent 10 to 30 % of everything else
beads                  total CV 8 to 10 % by channel, of which 7.7 % is common to all (the size of the bead); 30 % of
                       the antibodies stick (exponential, 2 counts), little DNA; with a cell: the sum
background             131Xe, 138Ba, 140Ce and 208Pb as on a real Helios: mostly below 10 counts
Gaussian parameters    correlated with the length of the event as on a real Helios (Center 0.85, Width 0.8,
                       Residual 0.6); never 0 unless there was no fit
pause                  two minutes after 55 % of the events
drift                  the gain falls linearly with acquisition time, without the pause; heavy channels lose more:
                       6 % per 20 Da at the end of the run, counted from 155 Da; ions that spilled are lost alike
measured spillover     what a laboratory would find on 2000 single-stained beads a channel: the true matrix with the
                       standard error of a median, rounded to five decimals; no rows of DNA, viability, beads and
                       background, which no antibody carries
negative control       a tube of a healthy donor without CAR-T cells: the same host mix with 10 % B cells
=====================  ==================================================================================
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core import keys, provenance
from cytocar._core.errors import Problem, StudyError
from cytocar.datasets import _truth
from cytocar.datasets._design import Options, Settings, Tube, checked, tubes
from cytocar.datasets._layout import AFTER, BEFORE, Layout, layout
from cytocar.datasets._simulate import SimulatedFile, simulate
from cytocar.datasets._single_stains import as_measured

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

DATES: Final = {
    "2mo": "14-MAR-2016",
    "1yr": "16-JAN-2017",
    "3yr": "14-JAN-2019",
    "5yr": "18-JAN-2021",
    "control": "18-JAN-2021",
}
STUDY: Final = """\
# A simulated study after LEGEND-2: no patient stands behind it. What is true of it is in truth/.
cytocar: 1
panel: panel.csv
samples: samples.csv
compensation: {compensation}
# Everything else has a default, such as:
# cofactor: 5
# gating: car_t
#   gates of other programs: gating: {{file: gates.wsp, car: CAR-T}}, or the gates.xml of a run
#   tubes that lack an antibody: role fmo in samples.csv
# clustering: {{method: both, k: auto, metaclusters: auto, markers: clustering}}
#   also stability: false, names: cluster_names.csv (clusters as you call them), reference: earlier_results
# embedding: tsne
# compare: {{reference: 2mo, against: 5yr}}
# cohort: {{formula: ~ group + batch, contrast: R vs NR}}, with several patients
# seed: 0
"""


def legend2(  # noqa: PLR0913  # the documented settings of the method
    *,
    cells: int = 100_000,
    seed: int = 0,
    spill: bool = True,
    drift: bool = True,
    host_dn: float = 0.0,
    false_positive_rate: float = 5e-5,
    car_fraction: Mapping[str, float] | None = None,
    staining_shift: float = 0.0,
    equal_truth: bool = False,
    timepoints: Sequence[str] | None = None,
    negative_control: bool = False,
) -> AnnData:
    """Simulate raw mass cytometry of CAR-T cells at 2 months, 1, 3 and 5 years after LEGEND-2, with known truth.

    Cells express markers by population (Xu et al. 2024, doi:10.1186/s13045-024-01530-z): a positive marker has
    ``y ~ N(mu + s, sd)`` in arcsinh(x/5), ``s ~ N(0, 0.12)`` common to a cell, and ``5 sinh(max(y, 0))`` expected
    counts; a negative one has 0 with probability 0.65, else exponential counts with mean 2.5. Of all events 72 %
    are live single cells, 14 % debris, 6 % dead, 4 % doublets, 3.5 % EQ4 beads, 0.3 % beads with a cell. Then come
    spillover, drift and counting: Poisson ions k, stored as k - U(0, 1), or exactly 0.

    Parameters
    ----------
    cells
        CD45+ live single cells in each file, at least 1; 104,167 gives 3135, 1083, 510 and 250 CAR-T cells.
    seed
        A whole number of at least 0. The same seed gives the same events.
    spill
        Whether channels leak into each other.
    drift
        Whether sensitivity falls during a run (1 to 0.72, 8 % up after a pause, 6 % over 20 Da) and differs
        between files (1.0, 0.85, 1.1, 0.95).
    host_dn
        Fraction (0 to 1) of the host T cells that are CD4-CD8- (TCRgd+).
    false_positive_rate
        Fraction (0 to 1) of the host T cells that look VHH+.
    car_fraction
        Percent (0 to 100) of the CD45+ cells that are CAR-T cells, by timepoint; what is not named stays as
        published (3.01, 1.04, 0.49, 0.24).
    staining_shift
        Standard deviation, in arcsinh units, of a shift of the positives, drawn once per file and marker.
    equal_truth
        Whether all timepoints get CAR-T share, clusters and host mix of the first: nothing truly changes over time.
    timepoints
        Some of ``2mo``, ``1yr``, ``3yr``, ``5yr``; default all. A file is the same whichever others are made.
    negative_control
        Whether to add a tube without CAR-T cells (sample ``HD1_control``).

    Returns
    -------
    Events of all files in the order of time, raw counts in ``X`` (float32, events x mass channels).
    ``obs``: ``sample_id``, ``patient_id``, ``timepoint``, ``months``, ``event_index``, ``Time`` (ms),
    ``Event_length``, ``Center``, ``Offset``, ``Width``, ``Residual``, and the truth: ``truth_type`` (cell, debris,
    dead, doublet, bead, cell_bead), ``truth_lineage``, ``truth_population``, ``truth_is_car`` (a live single
    CAR-T cell), ``truth_subset``, ``truth_cluster``, ``truth_false_positive``.

    Raises
    ------
    ParameterError
        An argument is outside its domain.

    Notes
    -----
    About 2 s for a file of 104,167 cells (144,000 events). `write_legend2` holds one file at a time.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=1000, timepoints=["2mo", "5yr"])
    >>> adata.obs.groupby("timepoint", observed=True)["truth_is_car"].sum().to_dict()
    {'2mo': 30, '5yr': 2}
    """
    options = checked(
        Options(
            cells=cells,
            seed=seed,
            spill=spill,
            drift=drift,
            host_dn=host_dn,
            false_positive_rate=false_positive_rate,
            car_fraction=car_fraction,
            staining_shift=staining_shift,
            equal_truth=equal_truth,
            timepoints=timepoints,
            negative_control=negative_control,
        )
    )
    return _as_anndata(tubes(options), options, layout())


def write_legend2(  # noqa: PLR0913  # the documented settings of the method
    out: str | os.PathLike[str],
    *,
    cells: int = 100_000,
    seed: int = 0,
    spill: bool = True,
    drift: bool = True,
    host_dn: float = 0.0,
    false_positive_rate: float = 5e-5,
    car_fraction: Mapping[str, float] | None = None,
    staining_shift: float = 0.0,
    equal_truth: bool = False,
    timepoints: Sequence[str] | None = None,
    negative_control: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> None:
    """Write the simulated study of `legend2` to disk: FCS files, study folder and truth, one file at a time.

    The same arguments write the same bytes. The folder gets its final name when it is whole.

    Parameters
    ----------
    out
        The study folder to make; new or empty.
    cells, seed, spill, drift, host_dn, false_positive_rate, car_fraction, staining_shift, equal_truth, timepoints, \
negative_control
        As in `legend2`.
    progress
        Called before each file with the number of files done, of all files, and the name of the sample.

    Returns
    -------
    Nothing. Writes ``study.yaml``, ``panel.csv``, ``samples.csv``, ``spillover.csv`` (rows emit; as it would be
    measured), ``fcs/<sample_id>.fcs``, and below ``truth/``: ``events/<sample_id>.csv`` (one row per event),
    ``spillover.csv`` (the true one), ``frequencies.csv``, ``clusters.csv`` and ``signs.csv``.

    Raises
    ------
    ParameterError
        An argument is outside its domain.
    StudyError
        `out` is there already and not an empty folder.

    Examples
    --------
    >>> import tempfile, pathlib, cytocar as cc
    >>> folder = pathlib.Path(tempfile.mkdtemp()) / "study"
    >>> cc.datasets.write_legend2(folder, cells=500, timepoints=["5yr"])
    >>> sorted(path.name for path in folder.iterdir())
    ['fcs', 'panel.csv', 'samples.csv', 'spillover.csv', 'study.yaml', 'truth']
    """
    options = checked(
        Options(
            cells=cells,
            seed=seed,
            spill=spill,
            drift=drift,
            host_dn=host_dn,
            false_positive_rate=false_positive_rate,
            car_fraction=car_fraction,
            staining_shift=staining_shift,
            equal_truth=equal_truth,
            timepoints=timepoints,
            negative_control=negative_control,
        )
    )
    final = Path(out)
    _require_free(final)
    channels = layout()
    final.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{final.name[:40]}.", dir=final.parent))
    try:
        _write(building, options, channels, progress)
        # mkdtemp makes folders only their owner can enter; give this one what a plain mkdir would have given.
        mask = os.umask(0)
        os.umask(mask)
        building.chmod(0o777 & ~mask)
        building.replace(final)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _require_free(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists():
        what = (
            f"is there already and holds {len(list(folder.iterdir()))} entries"
            if folder.is_dir()
            else "is a file"
        )
        raise StudyError([Problem(str(folder), what, "give a new or empty folder, or remove this one")])


def _write(
    folder: Path,
    options: Settings,
    channels: Layout,
    progress: Callable[[int, int, str], None] | None,
) -> None:
    import pandas as pd

    from cytocar.io._fcs.write import write_events

    planned = tubes(options)
    for name in ("fcs", "truth", "truth/events"):
        (folder / name).mkdir()
    for done, tube in enumerate(planned):
        if progress is not None:
            progress(done, len(planned), tube.sample_id)
        simulated = simulate(tube, options, channels)
        write_events(
            folder / "fcs" / tube.file,
            _matrix(simulated),
            channels.file_channels(),
            _keywords(tube, simulated),
        )
        truth = _truth.events(simulated)
        truth.insert(0, "event_index", np.arange(len(truth)))
        _csv(truth, folder / "truth" / "events" / f"{tube.sample_id}.csv")
    none = np.eye(len(channels.channels))
    spills = {
        "truth/spillover.csv": channels.spillover if options.spill else none,
        "spillover.csv": as_measured(channels, options.seed) if options.spill else none,
    }
    for name, spill in spills.items():
        spillover = pd.DataFrame(spill, columns=list(channels.channels))
        spillover.insert(0, "channel", list(channels.channels))
        _csv(spillover, folder / name)
    _csv(_truth.frequencies(planned), folder / "truth" / "frequencies.csv")
    _csv(_truth.clusters(planned), folder / "truth" / "clusters.csv")
    _csv(_truth.signs(options, planned), folder / "truth" / "signs.csv")
    _csv(_sheet(planned), folder / "samples.csv")
    study = STUDY.format(compensation="spillover.csv" if options.spill else "off")
    for name, text in (("panel.csv", channels.panel.to_csv()), ("study.yaml", study)):
        (folder / name).write_text(text, encoding="utf-8", newline="")


def _csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, lineterminator="\n")


def _sheet(planned: Sequence[Tube]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "file": [f"fcs/{tube.file}" for tube in planned],
            keys.SAMPLE: [tube.sample_id for tube in planned],
            keys.PATIENT: [tube.patient_id for tube in planned],
            keys.TIMEPOINT: [tube.timepoint for tube in planned],
            keys.MONTHS: ["" if tube.months is None else f"{tube.months:g}" for tube in planned],
            keys.ROLE: [tube.role for tube in planned],
        }
    )


def _matrix(simulated: SimulatedFile) -> np.ndarray:
    """Return all channels of a file in the order in which they are written."""
    technical = simulated.technical
    return np.column_stack(
        [
            *(technical[name] for name in BEFORE),
            simulated.counts,
            *(technical[name] for name in AFTER),
        ]
    )


def _keywords(tube: Tube, simulated: SimulatedFile) -> dict[str, str]:
    seconds = int(simulated.technical["Time"][-1] // 1000) if len(simulated.kind) else 0
    end = 10 * 3600 + seconds
    return {
        "$CYT": "DVSSCIENCES-CYTOF-6.7.1014",
        "$COM": "simulated by cytocar after LEGEND-2; no patient stands behind these events",
        "$DATE": DATES[tube.timepoint],
        "$BTIM": "10:00:00",
        "$ETIM": f"{end // 3600 % 24:02d}:{end // 60 % 60:02d}:{end % 60:02d}",
        "$FIL": tube.file,
        "$TIMESTEP": "0.001",
    }


def _as_anndata(planned: Sequence[Tube], options: Settings, channels: Layout) -> AnnData:
    import pandas as pd
    from anndata import AnnData

    counts, obs = [], []
    for tube in planned:
        simulated = simulate(tube, options, channels)
        counts.append(simulated.counts)
        n = len(simulated.kind)
        events = pd.DataFrame(
            {
                keys.SAMPLE: tube.sample_id,
                keys.PATIENT: tube.patient_id,
                keys.TIMEPOINT: tube.timepoint,
                keys.MONTHS: np.full(n, np.nan if tube.months is None else tube.months),
                keys.EVENT_INDEX: np.arange(n, dtype=np.int64),
                **simulated.technical,
            }
        )
        truth = _truth.events(simulated).add_prefix("truth_")
        for column in truth.columns[truth.dtypes == "category"]:
            truth[column] = truth[column].astype(object)
        obs.append(pd.concat([events, truth], axis=1))
    table = pd.concat(obs, ignore_index=True)
    table.index = pd.Index(
        table[keys.SAMPLE].astype(str) + ":" + table[keys.EVENT_INDEX].astype(str), name=None
    )
    orders = {
        keys.SAMPLE: [tube.sample_id for tube in planned],
        keys.PATIENT: list(dict.fromkeys(tube.patient_id for tube in planned)),
        keys.TIMEPOINT: [tube.timepoint for tube in planned],
    }
    for column, order in orders.items():
        table[column] = pd.Categorical(table[column], order, ordered=column == keys.TIMEPOINT)
    for column in ("type", "lineage", "population", keys.SUBSET, "cluster"):
        table[f"truth_{column}"] = pd.Categorical(table[f"truth_{column}"])
    var = channels.panel.var
    columns = [channels.names.index(marker) for marker in var[keys.MARKER]]
    adata = AnnData(X=np.concatenate([events[:, columns] for events in counts]), obs=table, var=var)
    provenance.set_state(adata, keys.STATE_COUNTS)
    provenance.record(adata, "datasets.legend2", {**vars(options)})
    return adata
