"""Every table of a run: its columns, what they hold, and in which unit.

The writer, the reader, the tests and the reference page of the tables come from here. A table is added by one entry of
`SCHEMAS`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

from cytocar._core import keys

Kind = Literal["text", "integer", "number", "boolean", "any"]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name
        As the header of the file has it; ``*`` stands for any letters, where a run decides what there is.
    kind
        What its values are; a value that is not known is empty. ``any`` are columns that users bring along.
    what
        One sentence for the reader.
    unit
        "" where there is none, or where the table states it row by row.
    always
        Whether every run that writes the table writes the column.
    """

    name: str
    kind: Kind
    what: str
    unit: str = ""
    always: bool = True


@dataclass(frozen=True)
class Schema:
    """One table of a run.

    Parameters
    ----------
    name
        The file is ``tables/NAME.csv``.
    what
        One sentence: what a row is.
    columns
        In the order of the file.
    fixed_first
        Whether the columns that are always there come before all others. Where a run decides on columns in between,
        they stay as the table has them.
    """

    name: str
    what: str
    columns: Sequence[Column]
    fixed_first: bool = True

    @property
    def always(self) -> tuple[str, ...]:
        """The columns that are in every run that writes the table."""
        return tuple(column.name for column in self.columns if column.always)

    def column(self, name: str) -> Column | None:
        """Return what is declared of a column, by its name or by the first pattern that it fits; None for nothing.

        Examples
        --------
        >>> SCHEMAS["multiverse"].column("rule_CD3").kind
        'text'
        >>> SCHEMAS["clusters"].column("colour") is None
        True
        """
        exact = next((column for column in self.columns if column.name == name), None)
        fits = (
            column for column in self.columns if "*" in column.name and fnmatch.fnmatchcase(name, column.name)
        )
        return exact or next(fits, None)


def _column(kind: Kind, name: str, what: str, unit: str = "", *, always: bool = True) -> Column:
    return Column(name, kind, what, unit, always)


_text, _integer, _number, _boolean = (
    partial(_column, kind) for kind in ("text", "integer", "number", "boolean")
)


def _sometimes(*columns: Column) -> tuple[Column, ...]:
    """Return columns that not every run writes."""
    return tuple(replace(column, always=False) for column in columns)


_ARCSINH = "arcsinh"
_SHARE = "0 to 1"

_SAMPLE = _text(keys.SAMPLE, "The sample, as `samples.csv` calls it.")
_PATIENT = _text(keys.PATIENT, "The patient.")
_TIMEPOINT = _text(keys.TIMEPOINT, "Label of the timepoint.")
_MONTHS = _number(keys.MONTHS, "Time of the sample.", "months")
_COMPARTMENT = _text(keys.COMPARTMENT, "`car`, `host`, or `cells` in a study without CAR-T cells.")
_METHOD = _text("method", "The clustering: `phenograph`, `flowsom` or `leiden`.")
_CLUSTER = _text("cluster", "Name of the cluster; `-1` are cells that fit nowhere.")
_MARKER = _text("marker", "The marker.")
_NOTE = _text("note", "A remark, such as why a number is missing.")
_EXPECTED_FALSE = "Cells without the CAR that are expected above the CAR threshold"


def _interval(low: str, high: str, of: str, unit: str) -> tuple[Column, Column]:
    return (
        _number(low, f"Lower end of the 95 % interval of {of}.", unit),
        _number(high, f"Upper end of the 95 % interval of {of}.", unit),
    )


_COMPARED = (
    _text("group_a", "The group that is subtracted."),
    _text("group_b", "The group that it is subtracted from; an effect is b minus a."),
)

_OF_PATIENTS = (
    _text("contrast", "The question, as `group b vs group a`."),
    _CLUSTER,
)

_P_VALUES = (
    _number("p_value", "p of the effect; empty where one patient cannot give one.", _SHARE),
    _number("p_adjusted", "p adjusted for the number of tests (Benjamini and Hochberg).", _SHARE),
    _number("p_minimum", "The least p that exchanging labels can give in this design.", _SHARE),
)


def _tested(value: str, unit: str) -> tuple[Column, ...]:
    """Return the columns of a comparison between patients, after those that say what is compared."""
    return (
        *_COMPARED,
        _integer("n_patients", "Patients in the model."),
        _integer("n_patients_a", "Patients in group a."),
        _integer("n_patients_b", "Patients in group b."),
        _integer("n_samples", "Samples in the model."),
        _integer("n_cells", "Cells of these samples that are counted."),
        _number("value_a", f"{value} of group a.", unit),
        _number("value_b", f"{value} of group b.", unit),
        _number("effect", "b minus a, as the model estimates it; its unit is in `effect_unit`."),
        *_interval("effect_low", "effect_high", "the effect", ""),
        _text("effect_unit", "Unit of the effect."),
        _number("statistic", "Statistic of the test."),
        _number("df", "Degrees of freedom of the error."),
        *_P_VALUES,
        _text("family", "The tests that `p_adjusted` is adjusted over."),
        _text("unit", "What counts as one observation: `patient` or `sample`."),
        _text("model", "The model."),
        _NOTE,
        _text("formula", "Formula of the model."),
    )


_TABLES: Final = (
    Schema(
        "samples",
        "One row per sample: the sample sheet with what was read of each file.",
        (
            _SAMPLE,
            _PATIENT,
            _TIMEPOINT,
            _MONTHS,
            _text(keys.ROLE, "`patient`, `negative_control` or `fmo`."),
            *_sometimes(
                _text("group", "Group of the patient."),
                _text("batch", "Day or batch of the measurement."),
                _text("panel", "Panel of the file, where it is not that of the study."),
            ),
            _text("file", "Name of the FCS file."),
            _text("sha256", "SHA-256 of the file."),
            _integer("bytes", "Size of the file.", "bytes"),
            _integer("events", "Events of the file."),
            *_sometimes(
                _number(
                    "share_of_*_kept", "Share of the cells of a compartment that `cells.h5ad` holds.", _SHARE
                )
            ),
            *_sometimes(_column("any", "*", "Any other column of the sample sheet, as it is there.")),
        ),
        fixed_first=False,
    ),
    Schema("notes", "One row per remark of the run.", (_SAMPLE, _NOTE)),
    Schema(
        "left_out",
        "One row per sample that was not run, because its file lacks what the gates, the clean-up or the beads need.",
        (
            _SAMPLE,
            _text("file", "Name of the FCS file."),
            _text(keys.ROLE, "`patient`, `negative_control` or `fmo`."),
            _text("lacks", "What it lacks."),
        ),
    ),
    Schema(
        "not_measured",
        "One row per sample and marker that its file does not have; other tables have no number of it there.",
        (_SAMPLE, _MARKER),
    ),
    Schema(
        "ledger",
        "One row per sample and population: where every event of every file went.",
        (
            _SAMPLE,
            _integer("order", "Place of the row within the sample, from 0."),
            _text("population", "The population, or what the clean-up removed."),
            _text("parent", "The population that it is a part of; empty for all events."),
            _integer("events", "Events in it."),
            _number("fraction_of_parent", "Share of its parent.", _SHARE),
            _number(
                "fraction_of_cd45",
                "Share of the denominator of the strategy; empty for what is not within it.",
                _SHARE,
            ),
            *_sometimes(
                _number("fraction_of_all", "Share of all events.", _SHARE),
                _text("path", "Names from the top down to the population, with `/` between."),
            ),
        ),
    ),
    Schema(
        "thresholds",
        "One row per sample and threshold: its value, where it comes from, and how far it may be trusted.",
        (
            _SAMPLE,
            _text("name", "Name of the threshold."),
            _MARKER,
            _number("value", "The threshold.", _ARCSINH),
            _text("rule", "The rule that gave it; `left out` for an optional marker that is missing."),
            _number("confidence", "How clear the data are.", _SHARE),
            _number("spread", "Standard deviation over bootstrap samples of the cells.", _ARCSINH),
            *_interval("low", "high", "the threshold over bootstrap samples", _ARCSINH),
            _text("found_in", "Population that it was found in."),
            _integer("n_cells", "Cells that it was found in."),
            _boolean("pinned", "Whether the number was stated."),
            _boolean("fallback", "Whether the first rule found nothing, so that another gave the number."),
            _NOTE,
        ),
    ),
    Schema(
        "densities",
        "200 rows per sample and threshold: the density that the threshold was found in.",
        (
            _SAMPLE,
            _text("name", "Name of the threshold."),
            _MARKER,
            _number("x", "Position on the axis.", _ARCSINH),
            _number("density", "Density there."),
        ),
    ),
    Schema(
        "gating_plots",
        "One row per bin that holds cells: the biaxial histograms of the gating figure.",
        (
            _SAMPLE,
            _integer("plot", "Number of the biaxial in the order of the strategy, from 1."),
            _text("parent", "Population that is drawn."),
            _text("x_marker", "Marker across."),
            _text("y_marker", "Marker upwards."),
            _number("x", "Middle of the bin.", _ARCSINH),
            _number("y", "Middle of the bin.", _ARCSINH),
            _integer("n", "Cells in the bin."),
        ),
    ),
    Schema(
        "gating_outlines",
        "One row per point of a gate on its biaxial, where gates are shapes of a document.",
        (
            _SAMPLE,
            _integer("plot", "Number of the biaxial, as in `gating_plots`."),
            _text("population", "Population of the gate."),
            _integer("line", "Number of the line that the point is on."),
            _number("x", "Position across.", _ARCSINH),
            _number("y", "Position upwards.", _ARCSINH),
        ),
    ),
    Schema(
        "car_frequency",
        "One row per sample: CAR-T share of CD45+ cells, what the gate catches without CAR-T cells, and the call.",
        (
            _SAMPLE,
            _PATIENT,
            _TIMEPOINT,
            _MONTHS,
            _integer("n_cd45", "CD45+ cells."),
            _integer("n_car", "Events in the CAR-T gate."),
            _integer("n_host_t", "Host T cells."),
            _number("pct_of_cd45", "CAR-T share of CD45+ cells.", "%"),
            *_interval("pct_low", "pct_high", "that share (exact, of counting)", "%"),
            _number(
                "background_events",
                "Most events that the gate is expected to catch without CAR-T cells.",
                "events",
            ),
            _number("lob_events", "Limit of blank.", "events"),
            _number("lod_events", "Limit of detection.", "events"),
            _number("loq_events", "Limit of quantification.", "events"),
            _text("call", "`not_detected`, `detected` or `quantified`."),
            *_sometimes(
                _text(keys.ROLE, "`patient` or `negative_control`."),
                _number("background_expected", "Events that are expected without CAR-T cells.", "events"),
                _number("background_rate", "Those events as a share of host T cells.", _SHARE),
                _text("background_source", "`negative_control`, `known_negative`, `given` or `unknown`."),
                _number("pct_net", "The share less the background, not below 0.", "%"),
                *_interval("pct_net_low", "pct_net_high", "the share less the background", "%"),
                _number("cells_per_ul", "CAR-T cells in blood.", "cells per µl"),
                *_interval(
                    "cells_per_ul_low", "cells_per_ul_high", "the CAR-T cells in blood", "cells per µl"
                ),
                _text("cells_per_ul_basis", "The blood count that they are reckoned from."),
                _NOTE,
                _integer("cells_to_quantify", "CD45+ cells that would quantify the share."),
            ),
        ),
    ),
    Schema(
        "kinetics",
        "One row per patient and measure of the CAR-T cells over time.",
        (
            _PATIENT,
            _text("measure", "The measure, such as `largest_observed`, `last_detected` or `half_life`."),
            _number("value", "Its value; its unit is in `unit`."),
            *_interval("low", "high", "the value", ""),
            _text("unit", "Unit of the value."),
            _NOTE,
        ),
    ),
    Schema(
        "subsets",
        "One row per sample, compartment and subset of its T cells.",
        (
            _SAMPLE,
            _COMPARTMENT,
            _text(keys.SUBSET, "`CD4`, `CD8`, `DN` or `DP`."),
            _integer("n", "Cells."),
            _number("fraction", "Share of the compartment.", _SHARE),
            *_interval("low", "high", "the share (exact, of counting)", _SHARE),
            *_sometimes(
                _integer("n_total", "Cells of the compartment."),
                _number("background_n", "Most cells of it that the background may account for.", "cells"),
                _number("background_share", "Those cells as a share of the subset.", _SHARE),
                _number(
                    "smallest_detectable",
                    "Smallest share that so many cells show above the background.",
                    _SHARE,
                ),
                _number("expected_false", "Cells of it that are expected not to be CAR-T cells.", "cells"),
                _number("fraction_net", "The share without those cells.", _SHARE),
            ),
        ),
    ),
    Schema(
        "clusters",
        "One row per sample, clustering and cluster.",
        (
            _SAMPLE,
            _METHOD,
            _CLUSTER,
            _integer("n", "Cells."),
            _number("fraction", "Share of the cells of the sample that have a label.", _SHARE),
            *_interval("low", "high", "the share (exact, of counting)", _SHARE),
            *_sometimes(
                _number("low_stability", "Least share when cells are left out and clustered again.", _SHARE),
                _number(
                    "high_stability", "Largest share when cells are left out and clustered again.", _SHARE
                ),
            ),
        ),
    ),
    Schema(
        "cluster_profiles",
        "One row per clustering, cluster and marker.",
        (
            _METHOD,
            _CLUSTER,
            _MARKER,
            _number("median", "Median of the cells.", _ARCSINH),
            _number(
                "scaled", "The median between the 0.01 and 0.99 quantiles of all cells; for pictures.", _SHARE
            ),
            _number("fraction_positive", "Share of the cells at or above the threshold.", _SHARE),
            _text(keys.SUBSET, "Subset of most of the cells."),
        ),
    ),
    Schema(
        "cluster_names",
        "One row per clustering and cluster, for people to edit the column `name`.",
        (
            _METHOD,
            _CLUSTER,
            _integer("n", "Cells."),
            _text("description", "What marks the cluster; no two are the same."),
            _text("name", "The name that tables and figures use."),
            _text("made_for", "Fingerprint of the clustering that the names are for."),
        ),
    ),
    Schema(
        "agreement",
        "One row: how far two clusterings agree.",
        (
            _text("method_a", "One clustering."),
            _text("method_b", "The other."),
            _number("ari", "Adjusted Rand index.", "at most 1"),
            _number("nmi", "Normalised mutual information.", _SHARE),
            _integer("n_cells", "Cells that have a cluster in both."),
        ),
    ),
    Schema(
        "stability",
        "One row per repeat of a clustering.",
        (
            _METHOD,
            _text("what", "`seed` (the same cells, another seed) or `resample` (a part of the cells)."),
            _integer("repeat", "Number of the repeat, from 1."),
            _integer("n_cells", "Cells that were clustered."),
            _integer("n_clusters", "Clusters found."),
            _number("ari", "Adjusted Rand index with the clustering itself.", "at most 1"),
        ),
    ),
    Schema(
        "cluster_stability",
        "One row per clustering and cluster: how much of it is found again.",
        (
            _METHOD,
            _CLUSTER,
            _integer("n", "Cells."),
            _number("jaccard", "Overlap with the nearest cluster of a repeat, mean over repeats.", _SHARE),
            _number("jaccard_low", "0.1 quantile of the overlap.", _SHARE),
            _number("dissolved", "Share of repeats with an overlap of 0.5 or less.", _SHARE),
            _text("verdict", "`stable`, `uncertain` or `dissolved`."),
        ),
    ),
    Schema(
        "map_quality",
        "One row per map: how many of a cell's nearest neighbours it keeps.",
        (
            _text("basis", "The map, as `obsm` calls it."),
            _integer("k", "Neighbours that are compared."),
            _integer("n_cells", "Cells on the map."),
            _integer("n_judged", "Cells that were judged."),
            _number("kept", "Share of the neighbours that the map keeps, mean over cells.", _SHARE),
            _number("low", "0.25 quantile over cells.", _SHARE),
            _number("high", "0.75 quantile over cells.", _SHARE),
            _number("by_chance", "Share that a random map would keep.", _SHARE),
        ),
    ),
    Schema(
        "reference",
        "One row per sample mapped to an earlier run: how many cells fit nowhere in it.",
        (
            _SAMPLE,
            _integer("n", "Cells."),
            _integer("n_outside", "Cells that fit nowhere."),
            _number("share_outside", "Their share.", _SHARE),
            *_interval("low", "high", "the share (exact)", _SHARE),
            _number("expected", "Share of the reference's own cells beyond its limit.", _SHARE),
        ),
    ),
    Schema(
        "comparisons",
        "One row per comparison, subset and marker: cells of one patient, or patients.",
        (
            _text("comparison", "`b vs a`: two timepoints, `car vs host`, or two groups."),
            _text(keys.COMPARTMENT, "Compartment that is compared; empty where compartments are."),
            _text(keys.TIMEPOINT, "Timepoint that is compared; empty where timepoints are."),
            _text(keys.SUBSET, "`CD4`, `CD8`, `DN`, or `all`."),
            _MARKER,
            *_COMPARED,
            _integer("n_cells_a", "Cells of group a."),
            _integer("n_cells_b", "Cells of group b."),
            _integer("n_patients_a", "Patients of group a."),
            _integer("n_patients_b", "Patients of group b."),
            _number("median_a", "Median of group a.", _ARCSINH),
            _number("median_b", "Median of group b.", _ARCSINH),
            _number("effect", "Median of b minus median of a.", _ARCSINH),
            *_interval("effect_low", "effect_high", "the effect", _ARCSINH),
            _number(
                "cliffs_delta",
                "Cliff's delta: chance that a cell of b is above one of a, less the opposite.",
                "-1 to 1",
            ),
            _text("unit", "What counts as one observation: `cell` or `patient`."),
            *_P_VALUES,
            _text("call", "`up`, `down`, `unchanged` or `inconclusive`."),
            *_sometimes(
                _text(keys.PATIENT, "Patient whose cells are compared; empty where patients are."),
                _number("technical_shift", "Change of the staining, as host cells show it.", _ARCSINH),
                *_interval("shift_low", "shift_high", "the change of the staining", _ARCSINH),
                _number("adjusted", "Effect less the change of the staining.", _ARCSINH),
                *_interval("adjusted_low", "adjusted_high", "the adjusted effect", _ARCSINH),
                _number("margin", "Difference that counts as a change.", _ARCSINH),
                _NOTE,
                _number("adjusted_mean", "The same of means.", _ARCSINH),
                *_interval(
                    "adjusted_mean_low", "adjusted_mean_high", "the adjusted difference of means", _ARCSINH
                ),
                *_interval("delta_low", "delta_high", "Cliff's delta", "-1 to 1"),
                _number("host_effect", "Change in host T cells over the same time.", _ARCSINH),
                _number("did", "Change in CAR-T cells less that in host T cells.", _ARCSINH),
                *_interval("did_low", "did_high", "that difference of changes", _ARCSINH),
                _text("did_host", "Host cells that CAR-T cells are compared with."),
            ),
        ),
    ),
    Schema(
        "abundance",
        "One row per question and cluster or subset: how much its share differs, with the patient as unit.",
        (
            _COMPARTMENT,
            _text("of", "What the shares are of: `subsets`, or a clustering."),
            _text(keys.TIMEPOINT, "Timepoint at which groups are compared; empty where timepoints are."),
            *_OF_PATIENTS,
            *_tested("Mean share", _SHARE),
        ),
    ),
    Schema(
        "state",
        "One row per question, cluster or subset, and marker: how much its median differs, with the patient as unit.",
        (
            _COMPARTMENT,
            _text("of", "What the cells are of: `all cells`, `subsets`, or a clustering."),
            _text(keys.TIMEPOINT, "Timepoint at which groups are compared; empty where timepoints are."),
            *_OF_PATIENTS,
            _MARKER,
            *_tested("Mean of the medians", _ARCSINH),
        ),
    ),
    Schema(
        "confounding",
        "One row per factor: whether its effect can be separated from that of the batch.",
        (
            _text("factor", "What is compared, such as `group` or `timepoint`."),
            _text("batch", "Column of the sheet that holds the batch."),
            _text(
                "verdict",
                "`balanced`, `unbalanced`, `partly aliased`, `aliased`, `unknown` or `no comparison`.",
            ),
            _integer("n_samples", "Samples."),
            _number("cramers_v", "Cramér's V of factor and batch.", _SHARE),
            _text("not_separable", "Sets of levels that share no batch, such as `2mo | 6mo, 12mo`."),
            _text("message", "The verdict as a sentence."),
        ),
    ),
    Schema(
        "batches",
        "One row per cluster: how far its share follows the batch.",
        (
            _METHOD,
            _CLUSTER,
            _text("batch_most", "Batch with the largest mean share."),
            _number("fraction_most", "Mean share there.", _SHARE),
            _text("batch_least", "Batch with the least mean share."),
            _number("fraction_least", "Mean share there.", _SHARE),
            _number("explained", "Part of the variance between samples that lies between batches.", _SHARE),
            _integer("n_samples", "Samples."),
        ),
    ),
    Schema(
        "robustness",
        "One row per sample, measure and threshold: the measure with the threshold at both ends of its range.",
        (
            _SAMPLE,
            _text("measure", "The measure, with its unit."),
            _text("threshold", "Name of the threshold that is moved."),
            _MARKER,
            _number("value_low", "Lower end of the range of the threshold.", _ARCSINH),
            _number("value_found", "The threshold as found.", _ARCSINH),
            _number("value_high", "Upper end of its range.", _ARCSINH),
            _number("result_low", "The measure with the threshold at `value_low`.", "%"),
            _number("result", "The measure as found.", "%"),
            _number("result_high", "The measure with the threshold at `value_high`.", "%"),
            _number("expected_false_low", f"{_EXPECTED_FALSE}, with the threshold at `value_low`.", "cells"),
            _number("expected_false", f"{_EXPECTED_FALSE}, as found.", "cells"),
            _number(
                "expected_false_high", f"{_EXPECTED_FALSE}, with the threshold at `value_high`.", "cells"
            ),
        ),
    ),
    Schema(
        "multiverse",
        "One row per sample, choice of rules and measure: the measure under other rules.",
        (
            _SAMPLE,
            _integer("universe", "Number of the choice; 0 is as found."),
            _text("kind", "`found`, `single` (one threshold by another rule) or `combined`."),
            *_sometimes(_text("rule_*", "Rule of the threshold that the name ends in.")),
            _text("measure", "The measure, with its unit."),
            _number("result", "The measure.", "%"),
            *_interval("low", "high", "the measure (exact, of counting)", "%"),
            _number("expected_false", f"{_EXPECTED_FALSE}.", "cells"),
        ),
        fixed_first=False,
    ),
    Schema(
        "beads",
        "One row per sample: bead signal before and after normalisation.",
        (
            _SAMPLE,
            _integer("n_beads", "Beads found."),
            _number("spread_before", "Largest over least smoothed bead signal over time; 1 is steady."),
            _number("spread_after", "The same after normalisation."),
            _number("slope_min", "Least factor that was applied."),
            _number("slope_max", "Largest factor that was applied."),
            _NOTE,
            _integer("n_cell_beads", "Events that are a bead with a cell."),
            _integer("window", "Beads that are smoothed over."),
            _text("worst_channel", "Channel in which most drift is left."),
            _number("worst_spread_after", "Spread after normalisation in that channel."),
        ),
    ),
    Schema(
        "bead_traces",
        "One row per sample, time and bead channel: the smoothed bead signal.",
        (
            _SAMPLE,
            _number("time_s", "Time by the clock of the file.", "s"),
            _text("channel", "The bead channel."),
            _number("before", "Signal before normalisation.", "counts"),
            _number("after", "Signal after it.", "counts"),
            _number("slope", "Factor that was applied, the same for all channels."),
        ),
    ),
    Schema(
        "compensation",
        "One row per sample and channel: what compensation took from it.",
        (
            _SAMPLE,
            _text("channel", "The channel."),
            _MARKER,
            _integer("events", "Events."),
            _number("mean_before", "Mean signal before.", "counts"),
            _number("mean_after", "Mean signal after.", "counts"),
            _number("removed", "Part of the signal that was removed.", _SHARE),
            _text("main_source", "Channel that leaked most into it; empty where none did."),
            _number("main_source_counts", "What that channel added, mean over events.", "counts"),
        ),
    ),
    Schema(
        "spillover",
        "One row per emitting channel: the matrix as it was used, in the form that `spillover:` takes.",
        (
            _text("channel", "The channel that emits."),
            *_sometimes(
                _number(
                    "*", "Share of its signal that is seen in the channel that the column is named after."
                )
            ),
        ),
    ),
    Schema(
        "car_audit",
        "One row per sample and source: CAR+ events that spillover into the CAR channel explains.",
        (
            _SAMPLE,
            _text("car_channel", "Channel of the CAR."),
            _text("source", "Channel that leaks into it; `all` for all together."),
            _number("spillover", "Share of the source that is seen in the CAR channel.", _SHARE),
            _integer("n_before", "CAR+ events before compensation."),
            _integer("n_after", "CAR+ events after it."),
            _integer("n_explained", "Events that are CAR+ before and not after."),
            _integer("n_gained", "Events that are CAR+ after and not before."),
            _integer("n_main", "Explained events in which this source is the largest."),
            _number("expected_counts", "Mean of what the source adds to an event.", "counts"),
            _number("expected_counts_explained", "Median of what it adds to explained events.", "counts"),
            _number("threshold_counts", "CAR threshold.", "counts"),
        ),
    ),
    Schema(
        "cleaning",
        "One row per sample and criterion: the limits of the clean-up.",
        (
            _SAMPLE,
            _text("criterion", "What the limit is for, such as `bead`, `debris_dna` or `dead`."),
            _number("value", "The limit; empty where it was not judged. Its unit is in `unit`."),
            _text("unit", "Unit of the limit."),
            _text("rule", "How it was found."),
            _NOTE,
            _text("channels", "Formula of the signal that it is a limit of."),
            _text("side", "Side on which the criterion is met: `above` or `below`."),
        ),
    ),
    Schema(
        "cleaning_plots",
        "One row per bin that holds events: the histograms of the clean-up figure.",
        (
            _SAMPLE,
            _integer("plot", "Number of the histogram, from 1."),
            _text("criterion", "What it shows."),
            _text("x_name", "Signal across, as a rounded formula."),
            _text("y_name", "Signal upwards."),
            _number("x", "Middle of the bin.", _ARCSINH),
            _number("y", "Middle of the bin.", _ARCSINH),
            _integer("n", "Events in the bin."),
            _number("x_limit", "Limit across.", _ARCSINH),
            _text("x_side", "Side on which the criterion is met: `above` or `below`."),
            _number("y_limit", "Limit on DNA that goes with it; empty where there is none.", _ARCSINH),
            _integer("events", "Events that were left."),
            _integer("taken", "Events that the criterion removed."),
        ),
    ),
    Schema(
        "cleaning_losses",
        "One row per sample and class of events: how many of them look like CAR-T cells.",
        (
            _SAMPLE,
            _text("class", "`cell`, `bead`, `cell_bead`, `debris`, `doublet`, `dead`, or `unstable`."),
            _integer("events", "Events of the class."),
            _number("share", "Share of the events of the file.", _SHARE),
            _integer("like_car", "Events of it that the gates would call CAR-T cells."),
        ),
    ),
    Schema(
        "time_quality",
        "One row per sample and stretch of time: whether the signal is stable.",
        (
            _SAMPLE,
            _integer("bin", "Number of the stretch, from 0; empty for a sample that was not judged."),
            _number("start_s", "Time of the first event.", "s"),
            _number("end_s", "Time of the last event.", "s"),
            _integer("events", "Events."),
            _boolean("stable", "Whether the stretch is stable."),
            _text("by", "What found it unstable: `IT`, `MAD` or `consecutive`."),
            _text("worst", "Channel, or `events/s`, that is farthest from usual."),
            _number("shift", "How far: arcsinh units, or the natural logarithm of the rate."),
            _NOTE,
        ),
    ),
    Schema(
        "quality",
        "One row per sample and stretch of time: event rate and signal.",
        (
            _SAMPLE,
            _integer("bin", "Number of the stretch, from 0."),
            _number("start_s", "Its start.", "s"),
            _number("end_s", "Its end.", "s"),
            _integer("events", "Events."),
            _number("events_per_s", "Event rate.", "events per s"),
            _number("cell_fraction", "Share of events that are cells.", _SHARE),
            _number("dna_median", "Median of DNA of cells.", "counts"),
            _number("bead_median", "Median of the bead channels of beads, their mean.", "counts"),
            _number("cd45_median", "Median of CD45 of cells.", "counts"),
            _NOTE,
        ),
    ),
    Schema(
        "against",
        "One row per file and population of `cytocar gate --against`: counts beside those of a FlowJo workspace. "
        "The file is `against.csv` in the folder that the command was given.",
        (
            _text("file", "The FCS file."),
            _text("sample", "The sample, as the workspace calls it."),
            _text("population", "Its path, such as `T cells/CD4`; `all events` for the file."),
            _text("gate", "Its shape in the workspace, or `and`, `or`, `not` of others."),
            _integer("events", "Events of it by cytocar."),
            _integer("workspace_events", "Events of it that the workspace states."),
            _integer("difference", "`events` minus `workspace_events`."),
            _number("relative_difference", "`difference` over `workspace_events`.", "1"),
            _number("fraction_of_parent", "Share of the population above it, by cytocar.", _SHARE),
            _number("workspace_fraction_of_parent", "The same by the counts of the workspace.", _SHARE),
            _text("agreement", "`equal`, `different`, `not_counted`, `not_in_workspace` or `not_in_gates`."),
        ),
    ),
)

SCHEMAS: Final[Mapping[str, Schema]] = {schema.name: schema for schema in _TABLES}

# What is text in every table that has it, for tables that no run of this version writes.
TEXT_IN_ANY_TABLE: Final = frozenset(
    column.name
    for schema in _TABLES
    for column in schema.columns
    if column.kind == "text" and "*" not in column.name
) - frozenset(column.name for schema in _TABLES for column in schema.columns if column.kind != "text")
