"""Gates of another program against a study: populations, channels, files, compensation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.errors import CytocarError, GateError, Problem
from cytocar._core.vocabulary import CONTROL_ROLE, FMO_ROLE
from cytocar.gate._strategy.against_study import idle_tubes
from cytocar.panel.names import channel_isotope

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.gate._documents.document import GatingDocument
    from cytocar.gate._documents.face import Shapes
    from cytocar.gate._strategy.strategy import StudyFacts
    from cytocar.panel import Panel


def problems(strategy: Shapes, study: StudyFacts) -> Iterator[Problem]:
    """Find what keeps gates from being applied to a study."""
    car, host = (strategy.compartments.get(role) for role in (keys.CAR, keys.HOST))
    if (car is None) != (host is None):
        known, other = (keys.CAR, keys.HOST) if host is None else (keys.HOST, keys.CAR)
        names = ", ".join(population.name for population in strategy.expanded())
        yield Problem(
            "",
            f"{strategy.compartments[known]!r} is {known}, and no population is known to be {other}",
            f"write 'gating: {{file: ..., {other}: ...}}' with one of {names}",
        )
    document = strategy.document
    if study.compensated and document.matrices:
        yield Problem(
            "",
            f"the gates have a compensation of their own ({', '.join(document.matrices)}), and the study is "
            "compensated too",
            "write 'compensation: off', or draw the gates on compensated channels",
        )
    if study.panel is not None:
        yield from _channels(document, study.panel, study.samples)
    if study.samples is not None:
        yield from _versions(document, study.samples)


def notes(strategy: Shapes, study: StudyFacts) -> Iterator[str]:
    """Say which tubes gates of another program do not use, and what they do not tell."""
    samples = study.samples
    if samples is not None:
        yield from idle_tubes(strategy, samples)
    for what in strategy.unknown:
        yield f"gating {strategy.name!r} does not say {what}"
    controls = samples is not None and (samples[keys.ROLE] == CONTROL_ROLE).any()
    if keys.CAR in strategy.compartments and not controls:
        yield (
            f"gating {strategy.name!r} states no cells that are known to be negative, and there is no {CONTROL_ROLE}: "
            "the background of the CAR-T gate is not known, and no share is corrected for it"
        )
    own = sorted({scale.xml_name for scale in strategy.document.own_scales()})
    if own:
        yield (
            f"gating {strategy.name!r} has scales that only FlowJo has ({', '.join(own)}): gates.xml holds them under "
            "their own names, and other programs than cytocar do not read it"
        )


def _channels(document: GatingDocument, panel: Panel, samples: pd.DataFrame | None) -> Iterator[Problem]:
    from cytocar.gate._documents.apply import missing_channels

    named = [str(channel) for channel in panel.frame[keys.CHANNEL]]
    missing = missing_channels(document, named, held_by="in the panel, nor without a mass in every file")
    others = [name for name in missing if channel_isotope(name) is None]
    if others and samples is not None:
        in_files = _in_every_file(samples)
        missing = {name: error for name, error in missing.items() if name not in in_files}
    for error in missing.values():
        yield Problem.of(error, fix="name the channel in the panel, or draw the gate on another")


def _in_every_file(samples: pd.DataFrame) -> set[str]:
    from cytocar.io._fcs.header import read_header

    in_all: set[str] | None = None
    for path in samples["path"]:
        try:
            names = {channel.pnn for channel in read_header(path).channels}
        except (CytocarError, OSError):
            # That a file cannot be read is reported where files are checked.
            continue
        in_all = names if in_all is None else in_all & names
    return in_all or set()


def _versions(document: GatingDocument, samples: pd.DataFrame) -> Iterator[Problem]:
    """Find samples for which a gate has no version, where it has them for others."""
    gated = samples[samples[keys.ROLE] != FMO_ROLE]
    for sample, file in zip(gated[keys.SAMPLE], gated["path"], strict=True):
        try:
            document.version_of(Path(file).name, str(sample))
        except GateError as error:
            yield Problem.of(
                error,
                where=f"sample {sample}",
                fix="draw the gates for this file too, call the sample or its file as the gates do, or leave it out",
            )
