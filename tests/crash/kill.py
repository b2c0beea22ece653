"""Kills builds at random moments and checks that the same command completes them.

    python -m tests.crash.kill --kills 120 --seed 0 --out DIR [--kinds fixed random ...]

A case starts from nothing (or the dataset that its kind extends), or from a state in which all is trained and the export
is to come; its build is killed one to three times with SIGKILL, the parent alone, one worker, or all; then the same command
runs undisturbed. Kills come at a random time, while a training is being staged, or right before or shortly after a
random file operation of a random phase. In half of the cases the wall clock is wrong or jumps and file times lie years
ahead or back. Afterwards the dataset must pass ``nws verify`` and equal that of an uninterrupted build, recorded timings
aside, with no file too many.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.files import files_of, shift_times
from tests.crash.kinds import KINDS, Kind, add_preset
from tests.crash.phases import PHASES, phase_of_folder, phase_of_operation
from tests.crash.processes import Aim, ask, ended, finish, kill, start, workers_of

_CLOCKS = ("", "", "", str(10 * 365 * 86_400), str(-10 * 365 * 86_400), "jumps")
_MAX_FAILURES = 10  # then something is wrong, and more would not tell more


@dataclass
class Tally:
    """What happened to one kind of build."""

    kills: Counter[str] = field(default_factory=Counter)  # by phase
    targets: Counter[str] = field(default_factory=Counter)
    n_cases: int = 0
    n_clock: int = 0  # kills under a wrong clock
    n_completed: int = 0
    n_equal: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Killed:
    """Who was killed, and when."""

    phase: str
    target: str


class KindRun:
    """The material of one kind: the goal, the state before, the state in which the export is to come."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.out, self.base, self.goal, self.ready = (folder / name for name in ("nws", "base", "goal", "ready"))
        self.command = kind.commands(self.out)[-1]
        self.duration_s = 0.0
        self.operations: list[str] = []
        self.digest = b""

    def prepare(self) -> None:
        """Build the goal without interruption, keeping its state before the export; skips what an earlier run made."""
        shutil.rmtree(self.out, ignore_errors=True)
        if not (self.folder / "prepared").exists():
            self._make_states()
        facts = json.loads((self.folder / "prepared").read_text())
        self.duration_s, self.operations = facts["duration_s"], facts["operations"]
        self.digest = json.loads((self.goal / "manifest.json").read_text())["data_digest"].encode()

    def _make_states(self) -> None:
        for state in (self.base, self.goal, self.ready):
            shutil.rmtree(state, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        for command in self.kind.commands(self.out)[:-1]:
            self.run_through(command)
        _copy(self.out, self.base)
        started_s = time.monotonic()
        self.run_through(self.command, self.ready)
        duration_s = time.monotonic() - started_s
        _copy(self.out, self.goal)
        _copy(self.ready, self.out)
        operations = self.run_through(self.command)
        facts = {"duration_s": duration_s, "operations": operations}
        (self.folder / "prepared").write_text(json.dumps(facts))

    def run_through(self, command: list[str], ready: Path | None = None) -> list[str]:
        """Run a command undisturbed; return its file operations. Raises ``RuntimeError`` when it fails."""
        log = self.folder / "log"
        if status := finish(start(self.out, command, log, ready=ready)):
            raise RuntimeError(f"exit status {status}: {log.with_suffix('.txt').read_text()}")
        return list(json.loads(log.read_text()))

    def problems(self) -> list[str]:
        """Return what is wrong with the dataset in the end."""

        def question() -> list[str]:
            from tests.crash.compare import problems

            return problems(self.out, self.goal)

        return list(ask(question, self.folder / "answer"))


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    if source.exists():
        shutil.copytree(source, target)


def run_case(run: KindRun, seed: str, tally: Tally) -> None:
    """Kill one build one to three times, complete it, and compare."""
    rng = random.Random(seed)
    exporting = rng.random() < 0.6
    _copy(run.ready if exporting else run.base, run.out)
    clock = rng.choice(_CLOCKS)
    story = [f"from {'ready' if exporting else 'base'}, clock {clock or 'right'}"]
    for _ in range(rng.randint(1, 3)):
        killed = _kill_once(run, rng, exporting, clock)
        if killed is None:
            story.append("ended before the kill")
            break
        tally.kills[killed.phase] += 1
        tally.targets[killed.target] += 1
        tally.n_clock += bool(clock)
        story.append(f"{killed.target} killed in {killed.phase}")
        if clock:
            shift_times(sorted(files_of(run.out)), rng)
    tally.n_cases += 1
    try:
        run.run_through(run.command)
        tally.n_completed += 1
        found = run.problems()
    except (RuntimeError, TimeoutError) as error:
        found = [str(error)]
    tally.n_equal += not found
    if found:
        kept = run.folder / f"failed-{seed.replace('/', '-')}"
        _copy(run.out, kept)
        print(f"FAILED {seed}: {found[:3]}", file=sys.stderr, flush=True)
        tally.failures.append(f"{seed}: {'; '.join(story)}\n    " + "\n    ".join(found[:6]) + f"\n    kept in {kept}")


def _kill_once(run: KindRun, rng: random.Random, exporting: bool, clock: str) -> Killed | None:
    """Start the build and kill it; return None when it ended before."""
    log = run.folder / "log"
    if exporting:
        phases = sorted({phase_of_operation(text) for text in run.operations}, key=PHASES.index)
        phase = rng.choice(phases)
        n = rng.choice([i for i, text in enumerate(run.operations) if phase_of_operation(text) == phase])
        aim = Aim(n, rng.choice((0.0, rng.uniform(0, 0.01))), rng.random() < 0.5)
        pid = start(run.out, run.command, log, aim, clock)
        return Killed(phase, "all" if aim.group else "parent") if finish(pid) < 0 else None
    pid = start(run.out, run.command, log, clock=clock)
    moment_s = rng.uniform(0, 1.1 * run.duration_s)
    target = rng.choice(("all", "parent", "a worker"))
    if not _wait(pid, run.out, moment_s, staging=rng.random() < 0.4, rng=rng):
        return None
    workers = workers_of(pid)
    if target == "a worker" and workers:
        return _kill_worker(run, rng.choice(workers), pid)
    kill(pid, group=target != "parent")
    return Killed(phase_of_folder(run.out, run.digest), "parent" if target == "parent" else "all")


def _kill_worker(run: KindRun, worker: int, pid: int) -> Killed | None:
    """Kill one worker and wait for the build, which may replace it and go on: a kill all the same."""
    killed: Killed | None = Killed(phase_of_folder(run.out, run.digest), "a worker")
    try:
        os.kill(worker, 9)
    except ProcessLookupError:  # it has just ended
        killed = None
    finish(pid)
    return killed


def _wait(pid: int, out: Path, moment_s: float, staging: bool, rng: random.Random) -> bool:
    """Wait for a moment, or for a training that is being staged; return False when the build ended before."""
    started_s = time.monotonic()
    n_wanted = rng.randint(1, 3)
    while ended_at := time.monotonic() - started_s:
        if ended(pid) is not None:
            return False
        if not staging and ended_at > moment_s:
            return True
        if staging:
            names = [path.name for path in files_of(out / ".build" / "trainings")]
            finished = sum(name.endswith(".safetensors") for name in names)
            if any(".tmp-" in name and "token" not in name for name in names) and finished + 1 >= n_wanted:
                return True
        time.sleep(0.0005 if staging else 0.01)
    return True


def run_all(kinds: list[str], n_kills: int, seed: int, folder: Path, only: Sequence[str] = ()) -> dict[str, Tally]:
    """Kill builds of all kinds in turn until there were enough kills."""
    tallies = {name: Tally() for name in kinds}
    runs = {name: KindRun(KINDS[name], folder / name.replace(", ", "-").replace(" ", "-")) for name in kinds}
    for name, run in runs.items():
        print(f"preparing {name}", file=sys.stderr, flush=True)
        run.prepare()
    for case in only:
        run_case(runs[case.split("/")[1]], case, tallies[case.split("/")[1]])
        print(f"case {case}: {len(tallies[case.split('/')[1]].failures)} failures", file=sys.stderr, flush=True)
    i = 0
    while not only and sum(tally.kills.total() for tally in tallies.values()) < n_kills:
        if sum(len(tally.failures) for tally in tallies.values()) >= _MAX_FAILURES:
            break
        name = kinds[i % len(kinds)]
        run_case(runs[name], f"{seed}/{name}/{i // len(kinds)}", tallies[name])
        i += 1
        total = sum(tally.kills.total() for tally in tallies.values())
        n_failed = sum(len(tally.failures) for tally in tallies.values())
        print(f"case {i}, {name}: {total} kills so far, {n_failed} failures", file=sys.stderr, flush=True)
    return tallies


def table(tallies: dict[str, Tally]) -> str:
    """Return the summary as a Markdown table, and the failures under it."""
    columns = ["kind", "kills", *PHASES, "cases", "completed", "equal", "wrong clock"]
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    total = Tally(n_cases=0)
    for name, tally in [*tallies.items(), ("all", total)]:
        if tally is not total:
            for part in ("kills", "targets"):
                getattr(total, part).update(getattr(tally, part))
            for part in ("n_cases", "n_completed", "n_equal", "n_clock"):
                setattr(total, part, getattr(total, part) + getattr(tally, part))
        counts = [tally.kills.total(), *(tally.kills[phase] for phase in PHASES), tally.n_cases, tally.n_completed]
        lines.append(" | ".join([name, *map(str, counts), str(tally.n_equal), str(tally.n_clock)]))
    text = "\n".join(f"| {line} |" for line in lines)
    text += f"\n\nKilled: {', '.join(f'{target} {n}' for target, n in sorted(total.targets.items()))}.\n"
    return text + "".join(f"\nFAILED {failure}" for tally in tallies.values() for failure in tally.failures)


def main() -> int:
    """Command entry; returns 0 when every case came out equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0, help="decides cases, moments and targets")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything; states in it are used again")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[name for name in KINDS if name != "ray"])
    parser.add_argument("--only", nargs="+", default=[], metavar="SEED", help="repeat single cases, such as 0/fixed/3")
    options = parser.parse_args()
    if options.only:
        options.kinds = sorted({case.split("/")[1] for case in options.only})
    import_builders()
    tallies = run_all(options.kinds, options.kills, options.seed, options.out.absolute(), options.only)
    print(table(tallies))
    return int(any(tally.failures for tally in tallies.values()))


def import_builders() -> None:
    """Import once what every forked build needs."""
    for module in ("builders.build", "builders.cli", "nws_data.check.verify", "tests.crash.compare"):
        importlib.import_module(module)
    add_preset()


if __name__ == "__main__":
    sys.exit(main())
