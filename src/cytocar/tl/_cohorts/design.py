"""The design of a cohort: a formula and a sample sheet -> a matrix, contrasts in it, and its unit of replication."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar._core.ordering import natural

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_NAME = re.compile(r"[^\W\d]\w*(?:\.\w+)*\Z")
_NO_TIME = frozenset({"", "nan", "none", "<na>"})


@dataclass(frozen=True)
class Contrast:
    """One question: `weights` times the coefficients of the design; of levels, `b` less `a` in `column`."""

    name: str
    weights: Floats
    column: str = ""
    a: str = ""
    b: str = ""


@dataclass(frozen=True)
class Design:
    """A design matrix with the sheet it was made from; rows are samples."""

    matrix: Floats
    columns: tuple[str, ...]
    sheet: pd.DataFrame
    formula: str
    terms: tuple[tuple[str, ...], ...]
    intercept: bool = True
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sheet's columns that the formula uses."""
        return tuple(dict.fromkeys(name for term in self.terms for name in term))


def read_formula(formula: str) -> tuple[bool, tuple[tuple[str, ...], ...]]:
    """Return whether there is an intercept, and the terms, each a tuple of column names.

    ``a + b`` adds, ``a:b`` is the interaction, ``a*b`` is ``a + b + a:b``; ``0 +`` or ``- 1`` leaves the intercept out.

    Examples
    --------
    >>> read_formula("~ group * timepoint + batch")
    (True, (('group',), ('timepoint',), ('batch',), ('group', 'timepoint')))
    """
    text = formula.strip()
    if not text.startswith("~") or "~" in text[1:]:
        raise ParameterError(
            f"formula is {formula!r}",
            fix="it has to start with ~ and name columns of the sheet: '~ group + batch'",
        )
    signed = re.findall(r"([+-]?)([^+-]*)", "+" + text[1:].strip().removeprefix("+"))
    intercept = True
    terms: list[tuple[str, ...]] = []
    for sign, summand in ((sign, summand.strip()) for sign, summand in signed if sign or summand):
        if summand in {"0", "1"}:
            intercept = (summand == "1") == (sign == "+")
        elif sign == "-":
            raise ParameterError(
                f"formula {formula!r} takes {summand!r} away", fix="only '- 1' (no intercept) is known"
            )
        else:
            terms += _products(summand, formula)
    if not terms and not intercept:
        raise ParameterError(f"formula {formula!r} has no term at all")
    terms = list({frozenset(term): term for term in reversed(terms)}.values())[::-1]
    return intercept, tuple(sorted(terms, key=len))


def _products(summand: str, formula: str) -> list[tuple[str, ...]]:
    """Return the terms that ``a:b`` or ``a*b`` stands for."""
    factors = [[name.strip() for name in factor.split(":")] for factor in summand.split("*")]
    for name in itertools.chain.from_iterable(factors):
        if not _NAME.match(name):
            raise ParameterError(
                f"formula {formula!r} has {name!r} where the name of a column is expected",
                fix="known are + : * and 0 or - 1 for no intercept",
            )
    terms = []
    for chosen in range(1, 2 ** len(factors)):
        merged = [name for i, factor in enumerate(factors) if chosen >> i & 1 for name in factor]
        terms.append(tuple(dict.fromkeys(merged)))
    return terms


def make_design(sheet: pd.DataFrame, formula: str | None, design: Any = None) -> Design:
    """Return the design of `sheet`: from a formula (the first level is the reference) or a ready matrix."""
    if (formula is None) == (design is None):
        raise ParameterError(
            "give either formula, such as '~ group + batch', or design, a matrix", fix="not both, not none"
        )
    if formula is None:
        return _ready(sheet, design)
    intercept, terms = read_formula(formula)
    terms = tuple(tuple(column_named(sheet, name) for name in term) for term in terms)
    levels: dict[str, tuple[str, ...]] = {}
    for name in dict.fromkeys(name for term in terms for name in term):
        if name not in sheet.columns:
            raise ParameterError(
                f"formula {formula!r} names {name!r}, which the sheet does not have",
                fix=did_you_mean(name, map(str, sheet.columns)),
            )
        require_filled(sheet, name)
        if not _is_number(sheet[name]):
            levels[name] = _levels(sheet, name)
    made = Design(np.empty((len(sheet), 0)), (), sheet, formula, terms, intercept, levels)
    matrix, columns = _expand(made, sheet)
    return replace(made, matrix=matrix, columns=columns)


def column_named(sheet: pd.DataFrame, name: str) -> str:
    """Return the column that `name` means: ``patient`` is ``patient_id`` where the sheet has no column ``patient``."""
    longer = f"{name}_id"
    return longer if name not in sheet.columns and longer in sheet.columns else name


def find_contrasts(design: Design, contrast: Any) -> list[Contrast]:
    """Return what is asked: by default every level of the first term against its first level.

    Raises
    ------
    ParameterError
        A level, column or coefficient is not there, or the design cannot tell the contrast from something else.
    """
    contrasts = _contrasts(design, contrast)
    for asked in contrasts:
        _require_estimable(design, asked)
    return contrasts


def reduce_design(design: Design, contrasts: Sequence[Contrast]) -> tuple[Design, list[Contrast]]:
    """Leave out columns that others already say; estimable contrasts do not change."""
    kept = _independent(design.matrix)
    if len(kept) == len(design.columns):
        return design, list(contrasts)
    left_out = [name for i, name in enumerate(design.columns) if i not in set(kept)]
    note = f"left out of the design, since other columns say the same: {', '.join(left_out)}"
    smaller = replace(
        design,
        matrix=design.matrix[:, kept],
        columns=tuple(design.columns[i] for i in kept),
        notes=(*design.notes, note),
    )
    return smaller, [replace(asked, weights=asked.weights[kept]) for asked in contrasts]


def add_block(design: Design, block: str) -> Design:
    """Return the design with a column for each level of `block` (its first level is the reference)."""
    labels = design.sheet[block].astype(str).to_numpy()
    levels = sorted(set(labels.tolist()))
    extra = np.column_stack([labels == level for level in levels[1:]] or [np.empty((len(labels), 0))]).astype(
        float
    )
    return replace(
        design,
        matrix=np.hstack([design.matrix, extra]),
        columns=design.columns + tuple(f"{block}[{level}]" for level in levels[1:]),
    )


def estimable(matrix: Floats, weights: Floats) -> bool:
    """Tell whether the samples hold what `weights` asks: it lies in the space of the rows."""
    solved = np.linalg.lstsq(matrix.T, weights, rcond=None)[0]
    return bool(
        np.allclose(matrix.T @ solved, weights, atol=1e-8 * max(1.0, float(np.abs(weights).max(initial=0.0))))
    )


def split_contrast(matrix: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return a column whose coefficient is the contrast, and the columns of the rest."""
    size = float(weights @ weights)
    basis = np.linalg.svd(weights[None, :])[2][1:].T
    return matrix @ weights / size, matrix @ basis


def smallest_p(design: Design, contrast: Contrast, block: str | None) -> float:
    """Return the smallest two-sided p that exchanging labels can give in this design.

    Within patients labels change places inside the patient: 2 / 2^n for n patients with both. Between patients they
    do inside the strata of the other factors: 2 / prod C(n, n_b). Numbers, and contrasts of coefficients, change their
    order: 2 / (n! / prod m!), m how often each value occurs.
    """
    sheet = design.sheet
    if contrast.column not in design.levels:
        column = np.round(design.matrix @ contrast.weights, 9)
        ties = np.unique(column, return_counts=True)[1]
        logs = math.lgamma(len(column) + 1) - sum(math.lgamma(int(m) + 1) for m in ties)
        return min(1.0, 2.0 * math.exp(-logs))
    labels = sheet[contrast.column].astype(str)
    used = labels.isin([contrast.a, contrast.b])
    chosen = sheet[used.to_numpy()].assign(_b=(labels[used] == contrast.b).to_numpy())
    if block is not None:
        both = int((chosen.groupby(block, observed=True)["_b"].nunique() == 2).sum())
        if both:
            return min(1.0, math.ldexp(2.0, -both))
        chosen = chosen.drop_duplicates([block, "_b"])
    others = [name for name in design.levels if name not in (contrast.column, block)]
    groups = chosen.groupby(others, observed=True)["_b"] if others else [("", chosen["_b"])]
    ways = math.prod(math.comb(len(inside), int(inside.sum())) for _, inside in groups)
    return min(1.0, 2 / ways)


def unit_of(design: Design) -> str:
    """Return what is replicated: ``patient`` where the sheet says whose each sample is, else ``sample``."""
    sheet = design.sheet
    has_patients = keys.PATIENT in sheet.columns and bool((sheet[keys.PATIENT].astype(str) != "").all())
    return "patient" if has_patients else "sample"


def _is_number(column: pd.Series) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column))


def require_filled(sheet: pd.DataFrame, name: str) -> None:
    """Raise `ParameterError` with the samples for which a column of the sheet is empty."""
    column = sheet[name]
    empty = column.isna() | column.astype(str).str.strip().str.casefold().isin(_NO_TIME)
    if _is_number(column):
        empty |= ~np.isfinite(column.to_numpy(dtype=float, na_value=np.nan))
    if empty.any():
        where = ", ".join(sheet.loc[empty, keys.SAMPLE].astype(str))
        raise ParameterError(
            f"column {name!r} of the sheet is empty for {where}", fix="fill it in or leave these samples out"
        )


def _levels(sheet: pd.DataFrame, name: str) -> tuple[str, ...]:
    """Return the levels that occur: in their own order, of timepoints by months, else by name."""
    import pandas as pd

    column = sheet[name]
    occurring = set(column.astype(str))
    if isinstance(column.dtype, pd.CategoricalDtype):
        return tuple(str(level) for level in column.cat.categories if str(level) in occurring)
    if name == keys.TIMEPOINT and keys.MONTHS in sheet.columns and _is_number(sheet[keys.MONTHS]):
        months = sheet[keys.MONTHS].groupby(column.astype(str)).median()
        return tuple(str(level) for level in months.sort_values(kind="stable", na_position="first").index)
    return tuple(sorted(occurring, key=natural))


def _expand(design: Design, sheet: pd.DataFrame) -> tuple[Floats, tuple[str, ...]]:
    """Return the columns of all terms for the rows of `sheet`, whose levels need not all occur."""
    blocks: list[Floats] = [np.ones((len(sheet), 1))] if design.intercept else []
    names: list[str] = ["Intercept"] if design.intercept else []
    full = not design.intercept
    for term in design.terms:
        product: list[tuple[str, Floats]] = [("", np.ones(len(sheet)))]
        for name in term:
            is_factor = name in design.levels
            # Without an intercept the first factor takes its place and keeps all its levels.
            columns = _factor_columns(design, sheet, name, full and len(term) == 1)
            full = full and (len(term) > 1 or not is_factor)
            product = [(f"{a}:{b}" if a else b, u * v) for a, u in product for b, v in columns]
        names += [name for name, _ in product]
        blocks += [values[:, None] for _, values in product]
    return (np.hstack(blocks) if blocks else np.empty((len(sheet), 0))), tuple(names)


def _factor_columns(
    design: Design, sheet: pd.DataFrame, name: str, all_levels: bool
) -> list[tuple[str, Floats]]:
    """Return the columns of a number (itself) or of a factor (one per level, but for the reference)."""
    if name not in design.levels:
        return [(name, sheet[name].to_numpy(dtype=float))]
    labels = sheet[name].astype(str).to_numpy()
    levels = design.levels[name] if all_levels else design.levels[name][1:]
    return [(f"{name}[{level}]", (labels == level).astype(float)) for level in levels]


def _ready(sheet: pd.DataFrame, design: Any) -> Design:
    import pandas as pd

    names = tuple(map(str, design.columns)) if isinstance(design, pd.DataFrame) else None
    if isinstance(design, pd.DataFrame) and set(map(str, design.index)) == set(
        sheet[keys.SAMPLE].astype(str)
    ):
        design = design.set_axis(design.index.astype(str)).loc[sheet[keys.SAMPLE].astype(str).tolist()]
    matrix = np.asarray(design, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != len(sheet):
        raise ParameterError(
            f"design has the shape {matrix.shape}",
            fix=f"it needs one row for each of the {len(sheet)} samples",
        )
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise ParameterError(
            f"design has {matrix[row, column]} in row {row}, column {column}", fix="it needs numbers"
        )
    columns = names or tuple(f"x{i}" for i in range(matrix.shape[1]))
    return Design(matrix, columns, sheet, "a given design matrix", ())


def _contrasts(design: Design, contrast: Any) -> list[Contrast]:
    """Return the contrasts that a text, a tuple (column, b, a), weights, or a list of texts and tuples asks for."""
    if contrast is None:
        contrast = _first_column(design)
    if isinstance(contrast, str):
        return _by_text(design, column_named(design.sheet, contrast))
    if isinstance(contrast, Mapping):
        return [_combination(design, contrast, _as_sum(contrast))]
    if isinstance(contrast, tuple) and len(contrast) == 3 and isinstance(contrast[0], str):
        column, b, a = contrast
        return [_between(design, column_named(design.sheet, column), str(a), str(b))]
    if isinstance(contrast, list) and contrast and all(isinstance(item, (str, tuple)) for item in contrast):
        return [asked for item in contrast for asked in _contrasts(design, item)]
    return [_weighted(design, np.asarray(contrast, dtype=np.float64))]


def _weighted(design: Design, weights: Floats) -> Contrast:
    """Return the contrast that weights for all columns of the design stand for."""
    if weights.shape != (len(design.columns),):
        raise ParameterError(
            f"contrast has {weights.size} weights",
            fix=f"the design has {len(design.columns)} columns: {', '.join(design.columns)}",
        )
    weight_of = {name: float(weight) for name, weight in zip(design.columns, weights, strict=True) if weight}
    return _combination(design, weight_of, _as_sum(weight_of))


def _first_column(design: Design) -> str:
    """Return the first column that the formula names, by which samples are compared unless a contrast is given."""
    if not design.terms:
        raise ParameterError(
            "contrast is missing",
            fix=f"name one of the columns {', '.join(design.columns)} or give weights",
        )
    return design.terms[0][0]


def _as_sum(weights: Mapping[str, float]) -> str:
    return " ".join(f"{weight:+g} {name}" for name, weight in weights.items())


def _by_text(design: Design, text: str) -> list[Contrast]:
    if text in design.levels and text in design.names:
        levels = design.levels[text]
        if len(levels) < 2:
            raise ParameterError(f"all samples have {text} = {levels[0]}: there is nothing to compare")
        return [_between(design, text, levels[0], level) for level in levels[1:]]
    if text in design.columns:
        return [replace(_combination(design, {text: 1.0}, text), column=text if text in design.names else "")]
    if " vs " in text:
        named, _, rest = text.rpartition(": ")
        b, _, a = (part.strip() for part in rest.partition(" vs "))
        if named:
            return [_between(design, named.strip(), a, b)]
        for column, levels in design.levels.items():
            if a in levels and b in levels:
                return [_between(design, column, a, b)]
        shown = "; ".join(f"{column}: {', '.join(levels)}" for column, levels in design.levels.items())
        raise ParameterError(
            f"contrast {text!r}: no column of the formula has both levels ({shown or 'it has no factor'})"
        )
    columns = [*design.names, *design.columns]
    raise ParameterError(
        f"contrast is {text!r}",
        fix=f"give 'b vs a', a column of the formula or of the design; {did_you_mean(text, columns)}",
    )


def _combination(design: Design, named: Mapping[str, float], name: str) -> Contrast:
    weights = np.zeros(len(design.columns))
    for column, weight in named.items():
        if column not in design.columns:
            raise ParameterError(
                f"contrast names the coefficient {column!r}",
                fix=f"the design has {', '.join(design.columns)}",
            )
        weights[design.columns.index(column)] = weight
    if not np.isfinite(weights).all() or not weights.any():
        raise ParameterError(f"contrast {name!r} has no weight that is a number other than 0")
    return Contrast(name, weights)


def _between(design: Design, column: str, a: str, b: str) -> Contrast:
    """Return level b less level a, averaged over the samples' other values where there are interactions."""
    if column not in design.levels:
        raise ParameterError(
            f"contrast names the column {column!r}, which is not a factor of the formula",
            fix=did_you_mean(column, design.levels),
        )
    for level in (a, b):
        if level not in design.levels[column]:
            raise ParameterError(
                f"{column} has no level {level!r} in these samples",
                fix=did_you_mean(level, design.levels[column]),
            )
    if a == b:
        raise ParameterError(f"contrast compares {column} = {a} with itself")
    both = [_expand(design, design.sheet.assign(**{column: level}))[0].mean(axis=0) for level in (a, b)]
    weights = np.zeros(len(design.columns))
    weights[: len(both[0])] = both[1] - both[0]
    return Contrast(f"{b} vs {a}", weights, column, a, b)


def _require_estimable(design: Design, contrast: Contrast) -> None:
    if estimable(design.matrix, contrast.weights):
        return
    loose = [
        name
        for i, name in enumerate(design.columns)
        if not contrast.weights[i]
        and estimable(np.delete(design.matrix, i, axis=1), np.delete(contrast.weights, i))
    ]
    with_what = (
        f"it is the same as {' or '.join(loose)}" if loose else "the columns of the design say the same twice"
    )
    raise ParameterError(
        f"the design {design.formula} cannot answer {contrast.name!r}: {with_what} in these samples "
        f"(rank {np.linalg.matrix_rank(design.matrix)}, {len(design.columns)} columns). No statistics can repair that",
        fix="measure samples that break the tie, or leave the covariate out and say that the effect may be its",
    )


def _independent(matrix: Floats) -> list[int]:
    kept: list[int] = []
    rest = np.asarray(matrix, dtype=np.float64).copy()
    size = np.linalg.norm(matrix, axis=0)
    for i in range(matrix.shape[1]):
        length = float(np.linalg.norm(rest[:, i]))
        if length > 1e-9 * max(float(size[i]), 1e-300) and length > 0:
            kept.append(i)
            unit = rest[:, i] / length
            rest[:, i + 1 :] -= np.outer(unit, unit @ rest[:, i + 1 :])
    return kept
