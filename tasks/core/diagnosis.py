"""The lines of `radtrain doctor`: what is there, whether a run can live with it, and the remedy where it cannot.

In: what was measured of the program and what surrounds it. Out: one line each. The machine's own figures
are judged in `capacity.py`; everything is measured in `tasks/diagnose_setup.py`.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tasks.core.addresses import without_secret
from tasks.core.errors import RadtrainError, ServerError, TrackingError, WeightsNotFound
from tasks.core.settings import QUIET

#: Of several failures the first one's code is the program's: the order that a run uses too.
GRAVITY = (15, 13, 14, 12, 16, 10, 1, 11)
#: Newer versions of these install without a word, and then break something far from them.
PINS = {
    "fastapi": "newer ones break every Prefect 3.8 server, the temporary one of a run too",
    "sqlalchemy": "with newer ones the scheduler of Prefect 3.8 silently makes no scheduled run",
}
#: Each of these brings the same folder `tensorflow`; the one installed last has overwritten the others in part.
TENSORFLOWS = ("tensorflow-cpu", "tensorflow", "tf-nightly", "tf-nightly-cpu")
INSTALL = "{python} -m pip install --no-deps --require-hashes --compile -r requirements.lock"
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")
_UNSET_PREFECT = "or unset PREFECT_API_URL: a temporary server is then started for each run"


@dataclass(frozen=True, slots=True)
class Line:
    """What the doctor says of one thing.

    Attributes:
        name: of the thing: one or two words, the same in every call.
        state: ok; warn: a run can live with it; fail: a run, or one disease of it, would fail.
        text: what is there; may name folders, and holds no password.
        remedy: the command or act that mends it; empty where nothing needs mending.
        exit_code: of a run that fails for it; 0 unless the state is fail.
    """

    name: str
    state: Literal["ok", "warn", "fail"]
    text: str
    remedy: str = ""
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the line as `--json` prints it."""
        return {
            "name": self.name,
            "state": self.state,
            "text": self.text,
            "remedy": self.remedy or None,
            "exit_code": self.exit_code,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from an address: `status` and the start of the `body`, or `trouble` where nothing came."""

    status: int = 0
    body: str = ""
    trouble: str = ""


def ok(name: str, text: str) -> Line:
    """Return a line about something that is as it should be."""
    return Line(name, "ok", text)


def warn(name: str, text: str, *, remedy: str) -> Line:
    """Return a line about something that a run can live with."""
    return Line(name, "warn", text, remedy)


def fail(name: str, text: str, *, remedy: str, kind: type[RadtrainError] = RadtrainError) -> Line:
    """Return a line about something that a run would fail for, with this kind of error."""
    return Line(name, "fail", text, remedy, kind.exit_code)


def exit_code(lines: Iterable[Line]) -> int:
    """Return 0 where nothing fails, or else the code of the gravest line that does."""
    codes = {line.exit_code for line in lines if line.state == "fail"}
    return next((code for code in GRAVITY if code in codes), max(codes, default=0))


def of_error(name: str, error: RadtrainError) -> Line:
    """Return the line of an error that a run would raise: all that it says, its remedy last."""
    said = [" ".join(line.split()) for line in str(error).splitlines()[1:]]
    details = "; ".join(line for line in said if not line.startswith("fix:"))
    return fail(
        name, f"{error.what} ({details})" if details else error.what, remedy=error.fix, kind=type(error)
    )


def judge_python(version: str, *, required: str, about: str) -> Line:
    """Judge the interpreter; `required` is the metadata's `Requires-Python`."""
    from packaging.specifiers import SpecifierSet

    if version in SpecifierSet(required):
        return ok("python", f"{version}, {about}")
    remedy = f"make the environment with a supported one, {required}: make PYTHON=python3.12 setup"
    return fail("python", f"{version}, {about}: not supported", remedy=remedy)


def judge_packages(requirements: Sequence[str], installed: Mapping[str, str | None]) -> list[Line]:
    """Judge the installed packages.

    Args:
        requirements: as the project's metadata has them, with markers.
        installed: version of each package that they name; None where it is missing.
    """
    from packaging.requirements import Requirement
    from packaging.version import InvalidVersion

    def fits(requirement: Requirement, there: str | None) -> bool:
        try:
            return there is not None and requirement.specifier.contains(there, prereleases=True)
        except InvalidVersion:
            return False

    wanted = [
        r for r in map(Requirement, requirements) if r.marker is None or r.marker.evaluate({"extra": ""})
    ]
    wrong, pins, broken = [], [], []
    for requirement in wanted:
        name, there, range_ = requirement.name, installed.get(requirement.name), requirement.specifier
        if fits(requirement, there):
            pins += [f"{name} {there} ({range_})"] if name in PINS else []
        elif there and name in PINS:
            broken.append(f"{name} {there} is not {range_}: {PINS[name]}")
        else:
            wrong.append(f"{name} {there} is not {range_}" if there else f"{name} is not installed")
    remedy = INSTALL.format(python=sys.executable)
    packages = ok("packages", f"{len(wanted)} required, all there and in range")
    if wrong:
        packages = fail("packages", f"{len(wrong)} of {len(wanted)}: {'; '.join(wrong)}", remedy=remedy)
    if not broken:
        return [packages, ok("pins", ", ".join(pins) or "none of the pinned packages is required")]
    return [packages, fail("pins", "; ".join(broken), remedy=remedy)]


def judge_tensorflow(installed: Mapping[str, str | None], *, driver: str) -> Line:
    """Judge which TensorFlow packages there are; `driver` is the version of an NVIDIA driver, or empty."""
    there = [f"{name} {installed[name]}" for name in TENSORFLOWS if installed.get(name)]
    gpu = f"; computes on the CPU, not with the NVIDIA driver {driver} that is here" if driver else ""
    if len(there) < 2:
        return ok("tensorflow", (there[0] if there else "not installed") + gpu)
    names = " ".join(said.split()[0] for said in there)
    remedy = f"{sys.executable} -m pip uninstall -y {names}, then {INSTALL.format(python=sys.executable)}"
    return warn(
        "tensorflow",
        f"{' and '.join(there)} overwrite each other's files; only one should stay",
        remedy=remedy,
    )


def judge_bytecode(waiting: Sequence[str], *, will_be_written: bool, place: str) -> Line:
    """Judge whether the large packages are compiled.

    Args:
        waiting: those that are not.
        will_be_written: whether Python may and can write the bytecode at the first start.
        place: the folder that holds them.
    """
    if not waiting:
        return ok("bytecode", "the large packages are compiled")
    names = ", ".join(waiting)
    if will_be_written:
        return ok("bytecode", f"not compiled yet: {names}; the first start writes it and takes twice as long")
    return warn(
        "bytecode",
        f"not compiled, and Python does not write it here: {names}; every start takes twice as long",
        remedy=shlex.join([sys.executable, "-m", "compileall", "-q", place]),
    )


def judge_telemetry(environment: Mapping[str, str]) -> Line:
    """Judge whether the user turned on what radtrain turns off where nothing is said."""
    switches = {name: quiet for name, quiet in QUIET.items() if quiet in ("true", "false")}
    loud = [
        f"{name}={environment[name]}"
        for name, quiet in switches.items()
        if name in environment and environment[name].lower() not in (_TRUE if quiet == "true" else _FALSE)
    ]
    if not loud:
        return ok("telemetry", "off")
    names = " ".join(said.partition("=")[0] for said in loud)
    return warn(
        "telemetry", f"not off: {', '.join(loud)}", remedy=f"unset {names}: radtrain then turns it off"
    )


def judge_weights(missing: Mapping[str, str], *, found: Mapping[str, str], cache: str) -> Line:
    """Judge the weights of the profiles.

    Args:
        missing: profile -> file: its own, or the name of the one that Keras would fetch into `cache`.
        found: profile -> where its weights are.
        cache: the folder in which Keras keeps ImageNet weights.
    """
    there = [f"{profile}: {place}" for profile, place in found.items()]
    gone = [f"{profile}: {file} is not there" for profile, file in missing.items()]
    text = "; ".join([*gone, *there]) or "no profile can be trained"
    if not missing:
        return ok("weights", text)
    if any("/" in file for file in missing.values()):
        remedy = "correct the profile's key weights, or --set weights=PATH"
        return fail("weights", text, remedy=remedy, kind=WeightsNotFound)
    return warn(
        "weights",
        text,
        remedy=f"nothing where a network is: the first run fetches it. Without one, copy it to {cache}, "
        "or --set weights=PATH",
    )


def judge_prefect(address: str, *, health: Answer, version: str, own: str) -> Line:
    """Judge the Prefect server that PREFECT_API_URL names.

    Args:
        address: as the user wrote it.
        health: what it answers at /health.
        version: of its package; empty where it does not say.
        own: the version of the package here.
    """
    shown = without_secret(address)
    if "@" in address:
        remedy = "take them out of PREFECT_API_URL, and export PREFECT_API_AUTH_STRING=USER:PASSWORD"
        text = f"{shown}: a user and password stand in its address, and a run cannot ask it so"
        return fail("prefect", text, remedy=remedy, kind=ServerError)
    if health.status == 200 and health.body.strip() == "true":
        if version in ("", own):
            return ok("prefect", f"{shown} answers, version {version or 'not told'}")
        remedy = f"let both have the same version: the server's {version}, or {own} that is installed here"
        return warn("prefect", f"{shown} is version {version}, and here is {own}", remedy=remedy)
    if health.status in (200, 404):
        text = f"{shown} answers, but not as Prefect's API does"
        remedy = f"correct PREFECT_API_URL, which ends in /api, {_UNSET_PREFECT}"
    else:
        text = f"{shown} does not answer at /health: {health.trouble or f'HTTP {health.status}'}"
        remedy = f"prefect server start, {_UNSET_PREFECT}"
    return fail("prefect", text, remedy=remedy, kind=ServerError)


def judge_mlflow_server(address: str, *, health: Answer, version: str) -> Line:
    """Judge the MLflow server of the tracking address; `version` is empty where it does not say."""
    shown = without_secret(address)
    if health.status == 200 and health.body.strip() == "OK":
        return ok("mlflow", f"{shown} answers, version {version or 'not told'}")
    said = health.trouble or f"HTTP {health.status}"
    if health.status in (401, 403):
        remedy = "export MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, if that is not done yet"
        return warn("mlflow", f"{shown} wants a user and password ({said})", remedy=remedy)
    if health.status == 200:
        said = "something else than MLflow answers"
    remedy = "start it, correct MLFLOW_TRACKING_URI, or unset it to record in the home folder"
    return fail("mlflow", f"{shown} does not answer at /health: {said}", remedy=remedy, kind=TrackingError)
