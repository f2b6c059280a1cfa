"""Clusters under the names that people gave them, and clusters of one name as one."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core import keys, palette, provenance
from cytocar._core.errors import ParameterError, Problem, did_you_mean
from cytocar._core.vocabulary import NO_CLUSTER
from cytocar.tl._groups import grouping

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

# labels of cells that are in no cluster; they keep them
NOWHERE: Final = (NO_CLUSTER, "")
NAMES_COLUMNS: Final = ("cluster", "name")


def fingerprint(adata: AnnData, key: str) -> str:
    """Return 12 hexadecimal digits that stand for a clustering: which cell is in which cluster.

    Cells without a label leave no trace, so that a table made for part of the cells fits all of them.

    Examples
    --------
    >>> import anndata, numpy
    >>> cells = anndata.AnnData(numpy.zeros((2, 1), "float32"))
    >>> cells.obs["flowsom"] = ["1", "2"]
    >>> first = fingerprint(cells, "flowsom")
    >>> cells.obs["flowsom"] = ["2", "2"]
    >>> len(first), first == fingerprint(cells, "flowsom")
    (12, False)
    """
    labels, _ = grouping(adata, key)
    digest = hashlib.sha256(key.encode())
    for cell, label in zip(adata.obs_names, labels, strict=True):
        if label:
            digest.update(f"\n{cell}\t{label}".encode())
    return digest.hexdigest()[:12]


def read_names(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table of cluster names as people leave it: any usual encoding and separator.

    Raises
    ------
    ParameterError
        With everything that is wrong with the file.
    """
    import pandas as pd

    from cytocar._core.hand_tables import load_table

    table, problems = load_table(path)
    if table is not None:
        missing = [column for column in NAMES_COLUMNS if column not in table.columns]
        if not missing:
            return pd.DataFrame(
                [{column: row.get(column) for column in table.columns if column} for row in table.rows]
            )
        raise ParameterError(
            f"there is no column {' nor '.join(map(repr, missing))}",
            where=str(path),
            fix=(
                "a table of cluster names has the columns "
                "method, cluster and name, as cluster_names.csv of a run has them"
            ),
        )
    raise ParameterError(problems=problems)


def _texts(column: pd.Series) -> list[str]:
    """Return a column as people mean it: text without spaces around it, "" where there is nothing."""
    return [
        "" if missing else str(value).strip() for value, missing in zip(column, column.isna(), strict=True)
    ]


def named_clusters(table: pd.DataFrame, clusters: list[str]) -> list[tuple[str, str]]:
    """Return cluster and name of each row; 1.0 is cluster 1, as tables with an empty row come back from programs."""
    pairs = []
    for cluster, name in zip(_texts(table["cluster"]), _texts(table["name"]), strict=True):
        whole = cluster.removesuffix(".0")
        if cluster or name:
            pairs.append((whole if cluster not in clusters and whole in clusters else cluster, name))
    return pairs


def _misfits(
    pairs: list[tuple[str, str]], prints: list[str], clusters: list[str], made_for: str, where: str
) -> list[Problem]:
    """Return everything that keeps a table from fitting these clusters."""
    named = [cluster for cluster, _ in pairs]
    cases = (
        (
            sorted({cluster for cluster in named if named.count(cluster) > 1}),
            "cluster {} is named more than once",
            "give each one row",
        ),
        (
            [cluster for cluster in dict.fromkeys(named) if cluster not in clusters],
            "cluster {} is not among these cells",
            f"they have {', '.join(clusters)}",
        ),
        (
            [cluster for cluster in clusters if cluster not in (*named, *NOWHERE)],
            "there is no row for cluster {}",
            "give each a name, the old one if it stays",
        ),
        ([cluster for cluster, name in pairs if name in NOWHERE], "cluster {} has no name", "write one"),
    )
    problems = [Problem(where, what.format(", ".join(wrong)), fix) for wrong, what, fix in cases if wrong]
    if prints and prints != [made_for]:
        problems.append(
            Problem(
                where,
                f"the table was made for another clustering ({', '.join(prints)}; these cells have {made_for}): other "
                "cells, markers, settings or seed give other clusters, and their names would be wrong",
                "take the table of this clustering, or empty its column made_for if you know that it fits",
            )
        )
    return problems


def _as_frame(table: pd.DataFrame | str | os.PathLike[str]) -> tuple[pd.DataFrame, str]:
    """Return a table of names that is handed in or read from a file, and what to call it."""
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        return read_names(table), str(table)
    missing = [column for column in NAMES_COLUMNS if column not in table.columns]
    if missing:
        present = [str(column) for column in table.columns]
        raise ParameterError(f"the table has no column {missing[0]!r}", fix=did_you_mean(missing[0], present))
    return table, "the table"


def _rows_of(frame: pd.DataFrame, key: str, where: str) -> pd.DataFrame:
    """Return the rows of one method, or raise where the table is of other methods only."""
    if "method" not in frame or not len(frame):
        return frame
    methods = _texts(frame["method"])
    rows = frame[[method == key for method in methods]]
    if rows.empty:
        others = [method for method in dict.fromkeys(methods) if method]
        raise ParameterError(f"{where} has no rows of method {key!r}", fix=did_you_mean(key, others))
    return rows


def rename_clusters(
    adata: AnnData,
    table: pd.DataFrame | str | os.PathLike[str],
    *,
    key: str = keys.PHENOGRAPH,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Give clusters the names of an edited table; clusters of one name become one. Nothing is clustered again.

    Parameters
    ----------
    adata
        Cells with clusters in ``obs``.
    table
        A table as `describe_clusters` makes it, or the CSV file that people edited: columns ``cluster`` and ``name``;
        with ``method`` only the rows of `key` are read, and with ``made_for`` the table must have been made for these
        very clusters.
    key
        Column of ``obs`` that holds the clusters.
    key_added
        Column to write; ``key + "_names"`` unless it is given.
    copy
        Return a changed copy instead of changing `adata`.

    Returns
    -------
    `None`, or the copy. Sets the following field:

    ``adata.obs[key_added]`` : categorical of text
        The name of each cell's cluster, in the order of the table; ``"-1"`` and cells without a label stay.

    Raises
    ------
    ParameterError
        With everything that is wrong with the table: clusters that are unknown, missing or named twice, empty names,
        another clustering.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> cells = anndata.AnnData(numpy.zeros((3, 1), "float32"))
    >>> cells.obs["flowsom"] = ["1", "2", "3"]
    >>> names = pandas.DataFrame({"cluster": ["1", "2", "3"], "name": ["naive", "memory", "naive"]})
    >>> rename_clusters(cells, names, key="flowsom")
    >>> cells.obs["flowsom_names"].tolist()
    ['naive', 'memory', 'naive']
    """
    import pandas as pd

    frame, where = _as_frame(table)
    rows = _rows_of(frame, key, where)
    labels, clusters = grouping(adata, key)
    pairs = named_clusters(rows, clusters)
    made_for = _texts(rows["made_for"]) if "made_for" in rows else []
    prints = [text for text in dict.fromkeys(made_for) if text]
    problems = _misfits(pairs, prints, clusters, fingerprint(adata, key), where)
    if problems:
        raise ParameterError(problems=problems)
    names = dict(pairs)
    renamed = np.array([names.get(label, label) for label in labels], dtype=object)
    occurring = set(renamed.tolist())
    order = [name for name in dict.fromkeys(names.values()) if name in occurring]
    order += [label for label in NOWHERE if label in occurring and label not in order]
    result = adata.copy() if copy else adata
    column = f"{key}_names" if key_added is None else key_added
    result.obs[column] = pd.Categorical(renamed, order)
    palette.store(result, column)
    provenance.record(result, "tl.rename_clusters", {"key": key, "key_added": column, "names": names})
    return result if copy else None
