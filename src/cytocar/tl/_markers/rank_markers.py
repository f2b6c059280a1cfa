"""Markers ranked by how far a group of cells stands out: scanpy's ranking with differences that mean something."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from cytocar._core import checks, keys, provenance
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar._core.vocabulary import NO_CLUSTER
from cytocar.tl import _groups, _input

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

METHODS: Final = ("wilcoxon", "t-test", "t-test_overestim_var")
REST: Final = "rest"
NOTE: Final = (
    "logfoldchanges are differences of medians in arcsinh units, not fold changes; p values of single cells are left "
    "out, because cells of one patient are not independent observations"
)


def rank_markers(  # the documented settings of the method
    adata: AnnData,
    groupby: str = keys.PHENOGRAPH,
    *,
    groups: Literal["all"] | Sequence[str] = "all",
    reference: str = REST,
    markers: str | Sequence[str] | None = None,
    method: Literal["wilcoxon", "t-test", "t-test_overestim_var"] = "wilcoxon",
    tie_correct: bool = True,
    key_added: str = "rank_markers",
) -> pd.DataFrame:
    """Rank the markers of each group of cells by scanpy, with differences of medians in place of fold changes.

    The score is that of ``scanpy.tl.rank_genes_groups``. Its fold change is
    ``log2(expm1(mean) / expm1(mean of the reference))``, made for logarithms of counts: on arcsinh values it is no fold
    change, and where means are below 0 it has the wrong sign or is missing, without a warning. Its p values take every
    cell for an independent observation; with the cells of one patient they say how many cells there are, not whether
    another patient would show the same. Neither is handed out. For evidence compare patients: `state`, `abundance`.

    scanpy: Wolf et al. 2018, Genome Biol 19:15, doi:10.1186/s13059-017-1382-0. Cells as observations: Squair et al.
    2021, Nat Commun 12:5692, doi:10.1038/s41467-021-25960-2.

    Parameters
    ----------
    adata
        Cells x markers, arcsinh values in ``X``.
    groupby
        Column of ``obs`` with the groups. Cells without a value are left out. Those of ``"-1"`` are no group, but
        belong to the rest.
    groups
        The groups to rank for, each of at least 2 cells.
    reference
        ``"rest"`` for all other cells, or a group.
    markers
        Markers to rank; `None` takes every channel whose role is ``marker``, or all channels where the panel says
        nothing of roles.
    method
        How scanpy scores: ``"wilcoxon"`` (rank sums), ``"t-test"`` or ``"t-test_overestim_var"``.
    tie_correct
        Whether scores by ranks allow for equal values, of which mass cytometry has many at 0.
    key_added
        Name of the result in ``uns``.

    Returns
    -------
    One row per group and marker, best score first within a group: ``group``, ``marker``, ``rank`` (from 1), ``score``
    (a z or t value, for the order only), ``difference`` (median of the group less that of the reference, arcsinh
    units), ``median``, ``median_reference``, ``n``, ``n_reference`` (cells). Sets:

    ``adata.uns[key_added]`` : dict
        The same in scanpy's form, so that ``scanpy.get.rank_genes_groups_df`` and ``scanpy.pl.rank_genes_groups`` with
        its sisters work with ``key=key_added`` (with ``values_to_plot`` they want all channels and groups ranked):
        ``names``, ``scores``, ``logfoldchanges`` (the differences of
        medians), ``pvals`` and ``pvals_adj`` (NaN): record arrays with one field per group; ``params``, and ``note``,
        which says so.

    Raises
    ------
    CytocarError
        ``X`` holds counts, or an argument is outside its domain, or a group has fewer than 2 cells.

    Examples
    --------
    Two groups of cells that lie below 0 on a marker, as noise around 0 does: group a is higher, and scanpy's fold
    change says that it is lower.

    >>> import anndata, numpy, pandas, scanpy
    >>> x = numpy.array([[-0.1, 1], [-0.2, 2], [-0.3, 3], [-0.4, 1], [-0.5, 2], [-0.6, 3]], "float32")
    >>> cells = anndata.AnnData(x, var=pandas.DataFrame(index=["CD38", "CD3"]))
    >>> cells.obs["group"] = pandas.Categorical(["a", "a", "a", "b", "b", "b"])
    >>> cells.uns["cytocar"] = {"state": "arcsinh"}
    >>> scanpy.tl.rank_genes_groups(cells, "group", method="wilcoxon")
    >>> trap = scanpy.get.rank_genes_groups_df(cells, None)
    >>> trap["names"][0], round(float(trap["scores"][0]), 2), round(float(trap["logfoldchanges"][0]), 2)
    ('CD38', 1.96, -1.12)
    >>> found = rank_markers(cells, "group")
    >>> found[["group", "marker", "score", "difference"]].round(2).values.tolist()[0]
    ['a', 'CD38', 1.96, 0.3]
    """
    provenance.require_state(adata, keys.STATE_ARCSINH, "tl.rank_markers")
    checks.one_of(method, "method", METHODS)
    labels, present = _groups.grouping(adata, groupby)
    wanted = _wanted(labels, present, groups, reference, groupby)
    names = _names(adata, markers)
    kept = np.flatnonzero(labels != "")
    x, _ = _input.marker_matrix(adata[kept], names, "tl.rank_markers", at_least=2)
    own = labels[kept]
    scores = _scores(x, own, names, wanted, reference=reference, method=method, tie_correct=bool(tie_correct))
    table = _table(x, own, names, wanted, scores, reference)
    adata.uns[key_added] = _as_scanpy(table, groupby, reference, method)
    settings = {"groupby": groupby, "groups": wanted, "reference": reference, "method": method}
    provenance.record(adata, "tl.rank_markers", {**settings, "markers": names, "key_added": key_added})
    return table


def _names(adata: AnnData, markers: str | Sequence[str] | None) -> list[str]:
    from cytocar import get

    if markers is None:
        if keys.ROLE not in adata.var:
            return [str(name) for name in adata.var_names]
        return get.markers(adata, clustering=False)
    return [str(name) for name in adata.var_names[get.columns(adata, markers)]]


def _wanted(
    labels: NDArray[np.str_],
    present: list[str],
    groups: Literal["all"] | Sequence[str],
    reference: str,
    groupby: str,
) -> list[str]:
    """Return the groups to rank for, or raise with every group that cannot be."""
    known = [name for name in present if name != NO_CLUSTER]
    all_of_them = isinstance(groups, str) and groups == "all"
    asked = known if all_of_them else [groups] if isinstance(groups, str) else [str(name) for name in groups]
    unknown = [name for name in asked if name not in known]
    if reference != REST and reference not in known:
        unknown.append(reference)
    if unknown:
        raise ParameterError(
            f"obs[{groupby!r}] has no group {', '.join(map(repr, unknown))}",
            fix=did_you_mean(unknown[0], known),
        )
    wanted = [name for name in dict.fromkeys(asked) if name != reference]
    _require_cells(labels, wanted, reference, groupby)
    return wanted


def _require_cells(labels: NDArray[np.str_], wanted: list[str], reference: str, groupby: str) -> None:
    """Refuse groups of fewer than two cells, and groups that have none to be compared with."""
    compared = wanted if reference == REST else [*wanted, reference]
    small = [name for name in compared if (labels == name).sum() < 2]
    if small:
        raise ParameterError(
            f"groups of fewer than 2 cells cannot be ranked: {', '.join(small)}",
            fix="name the others with groups=",
        )
    others = int((labels != "").sum())
    if not wanted or (reference == REST and any(others - (labels == name).sum() < 2 for name in wanted)):
        raise ParameterError(
            f"obs[{groupby!r}] has nothing to compare with", fix="at least two groups of 2 cells are needed"
        )


def _scores(
    x: NDArray[np.float32],
    labels: NDArray[np.str_],
    names: list[str],
    wanted: list[str],
    *,
    reference: str,
    method: str,
    tie_correct: bool,
) -> dict[str, NDArray[np.float64]]:
    """Return scanpy's score of every marker in each group, in the order of the markers."""
    import anndata
    import pandas as pd
    import scanpy as sc

    cells = anndata.AnnData(
        x,
        obs=pd.DataFrame({"group": pd.Categorical(labels)}, index=pd.RangeIndex(len(x)).astype(str)),
        var=pd.DataFrame(index=names),
    )
    with warnings.catch_warnings():
        # the logarithm of a negative ratio, which is thrown away
        warnings.simplefilter("ignore", RuntimeWarning)
        settings: dict[str, Any] = {"tie_correct": tie_correct} if method == "wilcoxon" else {}
        sc.tl.rank_genes_groups(
            cells, "group", groups=wanted, reference=reference, method=method, use_raw=False, **settings
        )
    found = cells.uns["rank_genes_groups"]
    scores = {}
    for group in wanted:
        by_name = dict(zip(found["names"][group].tolist(), found["scores"][group].tolist(), strict=True))
        scores[group] = np.array([by_name[name] for name in names], np.float64)
    return scores


def _table(
    x: NDArray[np.float32],
    labels: NDArray[np.str_],
    names: list[str],
    wanted: list[str],
    scores: dict[str, NDArray[np.float64]],
    reference: str,
) -> pd.DataFrame:
    import pandas as pd

    parts = []
    for group in wanted:
        inside = labels == group
        other = ~inside if reference == REST else labels == reference
        middle = np.median(x[inside], axis=0).astype(np.float64)
        beside = np.median(x[other], axis=0).astype(np.float64)
        order = np.lexsort((np.arange(len(names)), -scores[group]))
        parts.append(
            pd.DataFrame(
                {
                    "group": group,
                    "marker": np.array(names, dtype=object)[order],
                    "rank": np.arange(1, len(names) + 1),
                    "score": scores[group][order],
                    "difference": (middle - beside)[order],
                    "median": middle[order],
                    "median_reference": beside[order],
                    "n": int(inside.sum()),
                    "n_reference": int(other.sum()),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _as_scanpy(table: pd.DataFrame, groupby: str, reference: str, method: str) -> dict[str, Any]:
    """Return the table in the form in which scanpy keeps a ranking."""
    import pandas as pd

    kinds = {
        "names": ("marker", "O"),
        "scores": ("score", "float32"),
        "logfoldchanges": ("difference", "float32"),
        "pvals": (None, "float64"),
        "pvals_adj": (None, "float64"),
    }
    by_group = {str(group): rows for group, rows in table.groupby("group", sort=False)}
    stored: dict[str, Any] = {
        "params": {
            "groupby": groupby,
            "reference": reference,
            "method": method,
            "use_raw": False,
            "corr_method": "benjamini-hochberg",
        },
        "note": NOTE,
    }
    for name, (column, kind) in kinds.items():
        values = {
            group: rows[column].to_numpy() if column else np.full(len(rows), np.nan)
            for group, rows in by_group.items()
        }
        stored[name] = pd.DataFrame(values).to_records(index=False, column_dtypes=kind)
    return stored
