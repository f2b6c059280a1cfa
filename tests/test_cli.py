"""The command line as people use it: exit codes, one clear message, nothing half-written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cytocar
from cytocar import datasets
from cytocar.cli._print import parts
from cytocar.io._fcs.write import write_events


def cytocar_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cytocar", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "study"
    datasets.write_legend2(folder, cells=600, seed=0)
    return folder


@pytest.fixture
def study(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "study"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def first_fcs(study: Path) -> Path:
    return sorted((study / "fcs").glob("*.fcs"))[0]


def missing_file(study: Path) -> str:
    first_fcs(study).unlink()
    return first_fcs(study).suffix


def truncated(study: Path) -> str:
    path = first_fcs(study)
    path.write_bytes(path.read_bytes()[:-5000])
    return path.name


def unknown_channel(study: Path) -> str:
    edit(study / "panel.csv", "Yb171Di", "Yb179Di")
    return "Yb179Di"


def two_markers_one_name(study: Path) -> str:
    edit(study / "panel.csv", "GZMB", "Ki-67")
    return "Ki-67"


def yaml_typo(study: Path) -> str:
    with open(study / "study.yaml", "a", encoding="utf-8") as stream:
        stream.write("\ncofacter: 5\n")
    return "did you mean 'cofactor'?"


def yaml_syntax(study: Path) -> str:
    with open(study / "study.yaml", "a", encoding="utf-8") as stream:
        stream.write("\nclustering: {method: both\n")
    return "line"


def months_missing(study: Path) -> str:
    path = study / "samples.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    column = lines[0].split(",").index("months")
    cells = lines[1].split(",")
    cells[column] = ""
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n", encoding="utf-8")
    return "months"


def no_cd45(study: Path) -> str:
    path = study / "panel.csv"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if ",CD45," not in line]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "CD45"


def zero_events(study: Path) -> str:
    path = first_fcs(study)
    header = cytocar.io.read_fcs(path).var
    channels = [(channel, marker) for channel, marker in zip(header["channel"], header.index, strict=True)]
    write_events(path, np.empty((0, len(channels)), np.float32), channels)
    return "events"


BAD: list[Callable[[Path], str]] = [
    missing_file,
    truncated,
    unknown_channel,
    two_markers_one_name,
    yaml_typo,
    yaml_syntax,
    months_missing,
    no_cd45,
    zero_events,
]


@pytest.mark.parametrize("spoil", BAD, ids=lambda f: f.__name__)
def test_bad_input_is_one_clear_message_and_exit_code_2(spoil, study, tmp_path):
    expected = spoil(study)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    done = cytocar_command("run", study, "-o", tmp_path / "results")
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


def test_an_output_folder_that_is_not_empty_is_left_alone(study, tmp_path):
    out = tmp_path / "results"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    done = cytocar_command("run", study, "-o", out)
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_all_problems_at_once(study):
    yaml_typo(study)
    done = cytocar_command("check", study)
    assert done.returncode == 2
    edit(study / "study.yaml", "cofacter: 5", "")
    unknown_channel(study)
    months_missing(study)
    done = cytocar_command("check", study)
    assert done.returncode == 2
    assert "Yb179Di" in done.stderr
    assert "months" in done.stderr


def test_a_good_study_checks_clean(study):
    done = cytocar_command("check", study)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("no problems found\n")


def test_traceback_is_shown_on_request(study):
    yaml_typo(study)
    for arguments in (("--traceback", "check", study), ("check", study, "--traceback")):
        assert "Traceback" in cytocar_command(*arguments).stderr


def test_help_and_version():
    done = cytocar_command("--help")
    assert done.returncode == 0
    for command in ("demo", "simulate", "inspect", "init", "check", "run", "report"):
        assert command in done.stdout
    assert cytocar_command("--version").stdout.strip() == f"cytocar {cytocar.__version__}"


def test_inspect_shows_what_is_there_and_names_what_it_cannot_read(study, tmp_path):
    bad = tmp_path / "bad.fcs"
    bad.write_bytes(b"not FCS at all")
    done = cytocar_command("inspect", first_fcs(study), bad, tmp_path / "none.fcs")
    assert done.returncode == 2
    assert "Yb171Di" in done.stdout
    assert "bad.fcs" in done.stderr
    assert "none.fcs" in done.stderr


def test_report_refuses_a_folder_that_is_not_a_run(tmp_path):
    done = cytocar_command("report", tmp_path)
    assert done.returncode == 2
    assert "not the folder of a finished run" in done.stderr


def test_plan_answers_the_question_of_rare_cells():
    done = cytocar_command("plan", "0.05", "--cv", "20", "--usable", "60")
    assert done.returncode == 0, done.stderr
    # 25 events have a CV of 20 %, and 25 of 0.05 % are 50,000 cells, of 50,000 / 0.6 events.
    assert "0.05 % with a CV of 20 %: 50,000 cells (83,334 events); expected 25" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["0"], "percent is 0 %; it must be above 0 % and at most 100 %"),
        (["120"], "percent is 120 %"),
        (["1", "--cv", "0"], "--cv is 0 %; it must be above 0 %"),
        (["1", "--usable", "101"], "--usable is 101 %"),
        (["1", "--background", "100"], "--background is 100 %; it must be from 0 to below 100 %"),
    ],
)
def test_plan_refuses_numbers_that_are_not_percentages(arguments, message):
    done = cytocar_command("plan", *arguments)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there SIGTERM ends a process at once")
def test_a_job_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from cytocar.cli import _main
from cytocar.study._run.folder import building

def job(**_):
    with building(Path(sys.argv[1])) as partial:
        (partial / "half.csv").write_text("half")
        print("begun", flush=True)
        time.sleep(60)

_main.app = job
_main.main()
"""
    job = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert job.stdout is not None
        assert job.stdout.readline() == "begun\n"
        assert len(list(tmp_path.iterdir())) == 1
        job.terminate()
        assert job.wait(timeout=30) == 128 + 15
    finally:
        job.kill()
        job.communicate()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there SIGTERM ends a process at once")
def test_a_second_signal_does_not_interrupt_the_tidying_up(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from cytocar.cli import _main

def job(**_):
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("tidying", flush=True)
        sys.stdin.readline()
        Path(sys.argv[1]).write_text("tidied")

_main.app = job
_main.main()
"""
    job = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert job.stdout is not None
        assert job.stdout.readline() == "begun\n"
        job.terminate()
        assert job.stdout.readline() == "tidying\n"
        job.terminate()
        job.communicate("go on\n", timeout=30)
    finally:
        job.kill()
    assert job.returncode == 143
    assert (tmp_path / "out").read_text() == "tidied"


@pytest.mark.parametrize("command", ["run", "demo"])
def test_workers_are_a_whole_number_or_auto(command, tmp_path):
    arguments = [tmp_path / "study", "-o", tmp_path / "out"] if command == "run" else [tmp_path / "demo"]
    done = cytocar_command(command, *arguments, "--workers", "many")
    assert done.returncode == 2
    assert "workers is 'many'; it must be a whole number of at least 1, or auto" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_compensate_calls_threads_threads_and_still_takes_the_former_word(study, tmp_path):
    shown = cytocar_command("compensate", "--help").stdout
    assert "--threads" in shown
    assert "--workers" not in shown
    spillover = tmp_path / "s.csv"
    spillover.write_text(",Y89Di,Yb171Di\nY89Di,1,0.01\nYb171Di,0,1\n")
    for option in ("--threads", "--workers"):
        out = tmp_path / option.strip("-")
        done = cytocar_command("compensate", first_fcs(study), "-s", spillover, "-o", out, option, "2")
        assert done.returncode == 0, done.stderr
        assert ("write --threads" in done.stderr) == (option == "--workers")
        assert len(list(out.glob("*.fcs"))) == 1


def test_commands_of_a_study_come_first_in_the_help():
    shown = cytocar_command("--help").stdout
    names = [
        line.split()[0] for line in shown[shown.index("Commands:") :].splitlines()[1:] if line[2:3].strip()
    ]
    assert names[:6] == ["demo", "simulate", "init", "check", "run", "report"]
    assert names[6:] == ["plan", "inspect", "normalize", "compensate", "debarcode", "gate", "concat"]


def test_normalize_writes_files_without_beads_where_it_is_asked_to(tmp_path):
    source = tmp_path / "plain.fcs"
    rng = np.random.default_rng(0)
    channels = [("Time", ""), ("Yb171Di", "171Yb_CD3"), ("Ir191Di", "191Ir_DNA1")]
    write_events(source, rng.gamma(1, 20, (300, 3)).astype(np.float32), channels)
    refused = cytocar_command("normalize", source, "-o", tmp_path / "a")
    assert refused.returncode == 2
    assert "--on-missing skip" in refused.stderr
    done = cytocar_command("normalize", source, "-o", tmp_path / "b", "--on-missing", "skip")
    assert done.returncode == 0
    assert (tmp_path / "b" / "plain.fcs").is_file()


# The pipe may close while a line or while a table is written: several lines are read before.
@pytest.mark.parametrize("lines", [1, 6, 30])
def test_a_reader_that_has_enough_ends_the_command_without_a_word(study: Path, lines: int) -> None:
    files = sorted((study / "fcs").glob("*.fcs"))
    shell = [sys.executable, "-m", "cytocar", "inspect", *map(str, files * 5)]
    with subprocess.Popen(shell, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(str(files[0]))
        for _ in range(lines - 1):
            process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_notes_and_problems_are_in_one_stream_in_their_order(study: Path) -> None:
    edit(study / "panel.csv", "CD3,", "CD99,")
    done = cytocar_command("check", study)
    assert done.stdout == ""
    assert done.stderr.startswith("note: every file: Er170Di is 'CD99' in the panel")
    assert "\ncytocar: 1 problem found:\n" in done.stderr


def test_tables_break_no_word_at_80_columns() -> None:
    cells = {
        "number": ["1", "2"],
        "long name": ["Event_length", "176Yb_CD95"],
        "role": ["event_length", "marker"],
    }
    assert list(parts(cells, 80)) == [{"number": 6, "long name": 12, "role": 12}]
    assert list(parts(cells, 25)) == [{"number": 6, "long name": 12}, {"number": 6, "role": 12}]
    help_text = cytocar_command("--help").stdout
    assert "..." not in help_text.split("Commands:")[1]


def test_files_where_the_gates_are_expected_are_told(study: Path) -> None:
    done = cytocar_command("gate", first_fcs(study))
    assert done.returncode == 2
    assert "stands where the gates are expected" in done.stderr
