"""Mutants of FCS headers: right values, a refusal or a stated doubt, never other values without a word.

`python benchmarks/mutate_headers.py [FOLDER ...] [--number 3000] [--seed 1]` prints a table of outcomes; files of the
folders are taken beside files made here. Events behind the header stay as they are; one thing in the header changes.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cytocar._core.errors import CytocarError
from cytocar.io._fcs.data import read_events
from cytocar.io._fcs.header import read_header
from cytocar.io._fcs.judge import value_doubts
from cytocar.io._fcs.offsets import DOUBT

RIGHT, REFUSED, DOUBTED, TOLD, WRONG = "right", "refused", "doubt", "told", "WRONG"
# Where the offsets of HEADER stand, and what of a data set they are.
FIELDS = {
    "TEXT begin": 10,
    "TEXT end": 18,
    "DATA begin": 26,
    "DATA end": 34,
    "ANALYSIS begin": 42,
    "ANALYSIS end": 50,
}
OFFSETS = (
    "$BEGINDATA",
    "$ENDDATA",
    "$BEGINSTEXT",
    "$ENDSTEXT",
    "$BEGINANALYSIS",
    "$ENDANALYSIS",
    "$NEXTDATA",
)
EXTREMES = (
    None, "", "0", "1", "2", "-1", "7", "8", "16", "64", "255", "1024", "65536", "99999999", "4294967296", "1000000000",
    "9" * 30, "1e9", "1.5", "abc", "*", "nan", "inf", "+1", "half", "double", "+1", "-1", "+7",
)  # fmt: skip
OF_KEYWORD = {
    "$BYTEORD": ("1,2,3,4", "4,3,2,1", "2,1", "1,2", "3,4,1,2", "2,1,4,3", "1", "1,1", "8,7,6,5,4,3,2,1"),
    "$DATATYPE": ("F", "I", "D", "A", "f", "X"),
    "$MODE": ("L", "l", "C", "U"),
}
MOVES = tuple(range(-16, 0)) + tuple(range(1, 17))
DELIMITERS = b"|/\\!\x0c\x1e\t ,;0a"


@dataclass(frozen=True)
class Base:
    """A valid file in its parts, with what is right to read of it."""

    name: str
    head: bytes
    before: bytes
    delimiter: bytes
    pairs: tuple[tuple[bytes, bytes], ...]
    rest: bytes
    events: np.ndarray
    names: tuple[tuple[str, str], ...]
    told: frozenset[str]


@dataclass(frozen=True)
class Mutant:
    """A changed file: what was changed, and its bytes."""

    base: Base
    kind: str
    change: str
    raw: bytes


def take_apart(path: Path) -> Base | None:
    """Return the parts of a file whose TEXT can be put together again to the byte, None for others."""
    raw = path.read_bytes()
    header = read_header(path)
    begin, end = int(raw[10:18]), int(raw[18:26])
    text, delimiter = raw[begin : end + 1], raw[begin : begin + 1]
    inner = text.rstrip(b" \0\r\n")
    fields = inner.strip(delimiter).split(delimiter)
    pairs = tuple(zip(fields[::2], fields[1::2], strict=False))
    padding = text[len(inner) :]
    again = delimiter + b"".join(key + delimiter + value + delimiter for key, value in pairs) + padding
    if again != text:
        return None
    told = frozenset((*header.tolerances, *value_doubts(header)))
    rest = padding + raw[end + 1 :]
    names = tuple(header.names)
    return Base(path.name, raw[:58], raw[58:begin], delimiter, pairs, rest, read_events(header), names, told)


def put_together(base: Base) -> bytes:
    """Return the file with offsets that fit a TEXT of another length; offsets in TEXT keep their width."""
    text = base.delimiter + b"".join(k + base.delimiter + v + base.delimiter for k, v in base.pairs)
    return base.head + base.before + text + base.rest


def with_keyword(base: Base, key: str, value: str | None) -> bytes:
    """Return the file with one keyword changed, added or (None) removed, everything else as it is where it lies."""
    raw_key = key.encode()
    known = {k.upper(): v for k, v in base.pairs}
    old = known.get(raw_key)
    if old is None:
        pairs = (*base.pairs, (raw_key, (value or "").encode())) if value is not None else base.pairs
    else:
        pairs = tuple(
            (k, v if k.upper() != raw_key else (value or "").encode())
            for k, v in base.pairs
            if value is not None or k.upper() != raw_key
        )
    longer = len(put_together(replace(base, pairs=pairs))) - len(put_together(base))
    return put_together(moved(replace(base, pairs=pairs), longer, but=key))


def moved(base: Base, by: int, *, but: str = "") -> Base:
    """Return the file with all offsets behind TEXT moved, as a longer TEXT needs it."""
    if not by:
        return base
    head = bytearray(base.head)
    for name, position in FIELDS.items():
        number = int(head[position : position + 8].strip() or 0)
        if number and name != "TEXT begin":
            head[position : position + 8] = b"%8d" % (number + by)
    pairs = tuple(
        (k, b"%0*d" % (len(v), int(v) + by))
        if k.decode("latin-1").upper() in OFFSETS
        and k.decode("latin-1").upper() != but
        and v.strip().isdigit()
        and int(v)
        else (k, v)
        for k, v in base.pairs
    )
    return replace(base, head=bytes(head), pairs=pairs)


def in_header(raw: bytes, changes: dict[str, str]) -> bytes:
    out = bytearray(raw)
    for name, value in changes.items():
        out[FIELDS[name] : FIELDS[name] + 8] = value.encode()[:8].rjust(8)
    return bytes(out)


def spelled(value: str | None, old: str) -> str | None:
    """Return an extreme; those that go by the value itself are made from it."""
    if value in ("+1", "-1", "+7", "half", "double") and old.strip().isdigit():
        number = int(old)
        return str(
            {"+1": number + 1, "-1": number - 1, "+7": number + 7, "half": number // 2, "double": number * 2}[
                value
            ]
        )
    return value


def keyword_mutants(base: Base) -> Iterator[Mutant]:
    known = {k.decode("latin-1").upper(): v.decode("latin-1") for k, v in base.pairs}
    channels = sorted({1, 2, len(base.names) // 2 + 1, len(base.names)})
    of_channel = [f"$P{n}{what}" for n in channels for what in ("B", "R", "E", "G", "DATATYPE")]
    layout = [
        *OFFSETS,
        "$TOT",
        "$PAR",
        "$MODE",
        "$DATATYPE",
        "$BYTEORD",
        "$UNICODE",
        "$TIMESTEP",
        *of_channel,
    ]
    others = [key for key in known if key not in layout and not key.startswith("$P")]
    for key in [*layout, *others]:
        old = known.get(key, "")
        values = (*OF_KEYWORD.get(key, ()), *(EXTREMES if key in layout else (*EXTREMES[:3], "x" * 999)))
        if key.endswith("DATATYPE") and key != "$DATATYPE":
            values = (*OF_KEYWORD["$DATATYPE"], *values[:4])
        for value in dict.fromkeys(spelled(value, old) for value in values):
            if value != known.get(key):
                kind = (
                    key if (key in layout and not key.startswith("$P")) or key == "$PAR" else "other keyword"
                )
                kind = "$Pn" + key.lstrip("$P0123456789") if key in of_channel else kind
                yield Mutant(base, kind, f"{key} = {value!r:.40}", with_keyword(base, key, value))


def offset_mutants(base: Base) -> Iterator[Mutant]:
    raw = put_together(base)
    numbers = {name: int(raw[at : at + 8].strip() or 0) for name, at in FIELDS.items()}
    for name in FIELDS:
        for value in (
            "0",
            "1",
            "57",
            "99999999",
            "-1",
            "",
            "abc",
            "1.5",
            str(len(raw)),
            str(numbers[name] * 2),
        ):
            yield Mutant(base, f"HEADER {name}", f"= {value!r}", in_header(raw, {name: value}))
        for by in MOVES:
            yield Mutant(base, f"HEADER {name}", f"{by:+d}", in_header(raw, {name: str(numbers[name] + by)}))
    known = {k.decode("latin-1").upper(): v.decode("latin-1") for k, v in base.pairs}
    for by, which in itertools.product(MOVES, ("begin", "end", "both")):
        ends = ("begin", "end") if which == "both" else (which,)
        header = {f"DATA {end}": str(numbers[f"DATA {end}"] + by) for end in ends if numbers[f"DATA {end}"]}
        text = base
        for end in ends:
            key = f"${end.upper()}DATA"
            if known.get(key, "").strip().isdigit():
                text = replace(text, pairs=tuple(
                    (k, b"%0*d" % (len(v), int(v) + by)) if k.decode("latin-1").upper() == key else (k, v)
                    for k, v in text.pairs
                ))  # fmt: skip
        changed = put_together(text)
        if len(changed) == len(raw):
            yield Mutant(base, f"TEXT DATA {which}", f"{by:+d}", changed)
            yield Mutant(base, f"HEADER and TEXT DATA {which}", f"{by:+d}", in_header(changed, header))
            if which == "both":
                end = {"TEXT end": str(numbers["TEXT end"] + by)}
                yield Mutant(base, "all offsets", f"{by:+d}", in_header(changed, header | end))
        if which == "both":
            yield Mutant(base, "HEADER DATA both", f"{by:+d}", in_header(raw, header))


def form_mutants(base: Base) -> Iterator[Mutant]:
    raw = put_together(base)
    for code in DELIMITERS:
        one = bytes([code])
        first = 58 + len(base.before)
        yield Mutant(base, "delimiter", f"first byte {one!r}", raw[:first] + one + raw[first + 1 :])
        # A doubled delimiter stands for itself: with another one it would be another value.
        if all(all(pair) for pair in base.pairs):
            yield Mutant(base, "delimiter", f"all {one!r}", put_together(replace(base, delimiter=one)))
    for version in ("FCS1.0", "FCS2.0", "FCS3.0", "FCS3.1", "FCS3.2", "FCS4.0", "fcs3.0", "\0\0\0\0\0\0"):
        yield Mutant(base, "version", version, version.encode() + raw[6:])
    for size in (0, 5, 25, 57, 58, 200, len(raw) - 1, len(raw) - 9, len(raw) - 16, len(raw) // 2):
        yield Mutant(base, "cut", f"{size} bytes", raw[:size])
    for number in range(1, 17):
        yield Mutant(base, "longer", f"{number} bytes more", raw + b"\n" * number)


def outcome(mutant: Mutant, path: Path) -> tuple[str, str]:
    """Return how a mutant is read, and what was said of it."""
    path.write_bytes(mutant.raw)
    try:
        header = read_header(path)
        events = read_events(header)
        told = [*header.tolerances, *value_doubts(header)]
    except CytocarError as error:
        return REFUSED, str(error)
    except Exception as error:  # anything else that is raised is a fault
        return WRONG, f"crash: {error!r}"
    new = [note for note in told if note not in mutant.base.told]
    base = mutant.base
    same = events.shape == base.events.shape and np.array_equal(events, base.events, equal_nan=True)
    if same and tuple(header.names) == base.names:
        return RIGHT, "; ".join(new)
    if any(note.startswith(DOUBT) for note in new):
        return DOUBTED, "; ".join(new)
    return (TOLD if new else WRONG), "; ".join(new)


def made(folder: Path) -> list[Path]:
    """Write valid files of every kind of number and layout; return them."""
    random = np.random.default_rng(20)
    rows, time = 400, np.cumsum(random.integers(1, 40, 400))
    counts = random.gamma(0.7, 30, (rows, 9)) * (random.random((rows, 9)) < 0.8)
    floats = np.column_stack([time, random.integers(10, 70, rows), counts])
    names = [
        ("Time", ""),
        ("Event_length", ""),
        *((f"Yb{170 + n}Di", f"{170 + n}Yb_CD{n}") for n in range(9)),
    ]
    light = random.normal(400, 90, (rows, 6)).clip(1, 1023)
    wide = random.normal(30000, 6000, (rows, 6)).clip(1, 65535)
    scatter = [(name, "") for name in ("FSC-H", "SSC-H", "FL1-H", "FL2-H", "FL3-H", "FL4-H")]
    whole = floats.round()
    kinds = [
        ("float_little", floats, names, "F", "<f4", 0, {}),
        ("float_big", floats, names, "F", ">f4", 0, {}),
        ("double_little", floats, names, "D", "<f8", 0, {}),
        ("int16_little", light, scatter, "I", "<u2", 1024, {}),
        ("int16_big_full", wide, scatter, "I", ">u2", 65536, {}),
        ("int32_big", whole, names, "I", ">u4", 262144, {}),
        ("mixed", whole, names, "I", "mixed", 0, {}),
        ("no_crc", floats, names, "F", "<f4", 0, {"tail": b""}),
        ("blanks_before_data", floats, names, "F", "<f4", 0, {"gap": b" " * 40}),
        ("supplement", floats, names, "F", "<f4", 0, {"supplement": True}),
        ("two_data_sets", floats, names, "F", "<f4", 0, {"twice": True}),
        ("one_late", floats, names, "F", "<f4", 0, {"late": 1}),
    ]
    paths = []
    for name, events, channels, kind, numbers, limit, options in kinds:
        path = folder / f"{name}.fcs"
        path.write_bytes(fcs(events, channels, kind, numbers, limit, **options))
        paths.append(path)
    return paths


def fcs(  # noqa: PLR0913  # every part of a file
    events,
    channels,
    kind,
    numbers,
    limit,
    *,
    gap=b"",
    tail=b"00000000",
    supplement=False,
    twice=False,
    late=0,
):
    """Return an FCS 3.0 file, its numbers in TEXT ten digits wide."""
    if numbers == "mixed":
        form = np.dtype([(f"c{n}", "<u4" if n in (0, 5) else "<u2") for n in range(len(channels))])
        widths, order = [form[n].itemsize * 8 for n in range(len(form))], "1,2,3,4"
        data = np.array([tuple(row) for row in events.astype(np.int64).tolist()], dtype=form).tobytes()
    else:
        widths, order = [int(numbers[2]) * 8] * len(channels), "1,2,3,4" if numbers[0] == "<" else "4,3,2,1"
        data = np.ascontiguousarray(events).astype(numbers).tobytes()
    keywords = {
        "$MODE": "L",
        "$DATATYPE": kind,
        "$BYTEORD": order,
        "$PAR": len(channels),
        "$TOT": len(events),
    }
    more = {}
    for n, ((pnn, pns), bits) in enumerate(zip(channels, widths, strict=True), 1):
        keywords |= {
            f"$P{n}N": pnn,
            f"$P{n}B": bits,
            f"$P{n}E": "0,0",
            f"$P{n}R": limit or 2 ** min(bits, 32),
        }
        more |= {f"$P{n}S": pns} if pns else {}
    keywords |= {"$CYT": "DVSSCIENCES-CYTOF-6.7", "$FIL": "a.fcs"} | ({} if supplement else more)
    second = ("|" + "".join(f"{key}|{value}|" for key, value in more.items())).encode() if supplement else b""
    begin = following = 0
    for _ in range(2):
        end = begin + len(data) - 1
        places = [begin, end + late, 0, 0, 0, 0, following]
        if second:
            places[2:4] = end + 1, end + len(second)
        pairs = dict(zip(OFFSETS, (f"{place:010d}" for place in places), strict=True)) | keywords
        text = ("|" + "".join(f"{key}|{value}|" for key, value in pairs.items())).encode()
        begin = 58 + len(text) + len(gap)
        following = begin + len(data) + len(second) + len(tail) if twice else 0
    head = (58, 57 + len(text), begin, end + late, 0, 0)
    first = b"FCS3.0    " + b"".join(b"%8d" % place for place in head) + text + gap + data + second + tail
    again = fcs(events, channels, kind, numbers, limit, tail=tail) if twice else b""
    return first + again


def mutants(bases: list[Base], number: int, seed: int) -> list[Mutant]:
    """Return `number` of all mutants of the files, by chance and the same for the same seed, all kinds alike."""
    by_kind: dict[str, list[Mutant]] = {}
    for base in bases:
        for mutant in itertools.chain(keyword_mutants(base), offset_mutants(base), form_mutants(base)):
            by_kind.setdefault(mutant.kind, []).append(mutant)
    random = np.random.default_rng(seed)
    queues = [[of[k] for k in random.permutation(len(of))] for of in by_kind.values()]
    mixed = [mutant for row in itertools.zip_longest(*queues) for mutant in row if mutant is not None]
    return mixed[:number] if number else mixed


def judged(chosen: list[Mutant], folder: Path) -> list[tuple[Mutant, str, str]]:
    return [(mutant, *outcome(mutant, folder / "mutant.fcs")) for mutant in chosen]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--number", type=int, default=3000, help="0 takes all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--largest", type=int, default=700_000, help="bytes of a file that is taken")
    parser.add_argument("--show", choices=(RIGHT, REFUSED, DOUBTED, TOLD, WRONG), default=WRONG)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = made(folder)
        for given in options.folders:
            paths += sorted(path for path in given.rglob("*") if path.suffix.casefold() in (".fcs", ".lmd"))
        bases = []
        for path in paths:
            if path.stat().st_size > options.largest:
                continue
            try:
                base = take_apart(path)
            except CytocarError:
                continue
            if base is not None and len(base.events) >= 100:
                bases.append(base)
        results = judged(mutants(bases, options.number, options.seed), folder)
    counts: dict[str, Counter[str]] = {}
    for mutant, verdict, _ in results:
        counts.setdefault(mutant.kind, Counter())[verdict] += 1
    columns = (RIGHT, REFUSED, DOUBTED, TOLD, WRONG)
    print(f"{len(results)} mutants of {len(bases)} files: {', '.join(base.name for base in bases)}\n")
    print(f"| changed | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    for kind, of in sorted(counts.items()):
        print(f"| {kind} | {' | '.join(str(of[column]) for column in columns)} |")
    total = sum(counts.values(), Counter())
    print(f"| all | {' | '.join(str(total[column]) for column in columns)} |\n")
    for mutant, verdict, said in results:
        if verdict == options.show:
            print(f"{verdict}: {mutant.base.name}, {mutant.kind}, {mutant.change}: {said}")


if __name__ == "__main__":
    main()
