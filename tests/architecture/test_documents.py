"""Documents and code agree: all that a user can name stands in its page, and all that a page names is there.

What exists is asked of the code; what is documented is the first cell of every table row below a heading.
"""

import argparse
import ast
import dataclasses
import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from data_checks import contract, findings, reasons
from data_checks import rules as judged_by
from data_checks.findings import Finding
from data_checks.images import listing
from flows import cli
from flows.commands import cache
from tasks.cache import SpaceUse
from tasks.compute import Embedded
from tasks.core import catalog, errors, profile
from tasks.core.fitting import Epoch
from tasks.core.metrics import Estimate, measure
from tasks.core.networks import NETWORKS, SCALES
from tasks.core.pace import Forecast
from tasks.core.report import Outcome, Report
from tasks.core.settings import QUIET, read_settings
from tasks.extract_features import Extraction
from tasks.scan_images import Scan

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
CODE = ("flows", "tasks", "data_checks", "deployments", "infra")
#: Folders that hold no document of the project. `shared` is lent to some checkouts.
ELSEWHERE = {"shared", "build", "dist", "node_modules"}

#: Heading in catalog.md -> table of the schema.
TABLES = {
    "Tables": catalog.Catalog,
    "`[split]`": catalog.SplitRule,
    "`[diseases.KEY]`": catalog.Disease,
    "`[[diseases.KEY.sources]]`": catalog.Source,
    "`splits` of a source": catalog.ShippedSplits,
    "`[profiles.KEY]`": profile.Profile,
    "`[profiles.KEY.augmentation]`": profile.Augmentation,
}


# Reading documents


def documents() -> list[Path]:
    """Return every Markdown file of the repository."""
    found = []
    for folder, inner, files in os.walk(ROOT):
        inner[:] = [name for name in inner if not name.startswith(".") and name not in ELSEWHERE]
        found += [Path(folder, name) for name in files if name.endswith(".md")]
    return sorted(found)


def prose(text: str) -> str:
    """Return a document without its fenced code."""
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


def section(page: str, heading: str) -> str:
    """Return what stands between a heading and the next one, of whatever level."""
    text = (REFERENCE / page).read_text(encoding="utf-8")
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, flags=re.DOTALL | re.MULTILINE)
    assert found, f"docs/reference/{page} has no heading '{heading}'"
    return found[1]


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, for rows whose first cell begins with code."""
    lines = [line for line in section(page, heading).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(page: str, heading: str) -> list[str]:
    """Return what the table below a heading documents: the first word of code of each row."""
    return [row[0].strip("` ").split()[0] for row in rows(page, heading)]


def assert_documented(page: str, heading: str, known: list[str]) -> None:
    """Fail unless the table documents what is known: all of it, and nothing else, each once."""
    written = names(page, heading)
    missing = [name for name in known if name not in written]
    stale = [name for name in written if name not in known]
    assert not missing, f"docs/reference/{page}, '{heading}': not documented: {', '.join(missing)}"
    assert not stale, f"docs/reference/{page}, '{heading}': no longer in the code: {', '.join(stale)}"
    assert len(written) == len(set(written)), f"docs/reference/{page}, '{heading}': documented twice"


def sources() -> Iterator[tuple[Path, str]]:
    """Yield every Python file of the program with its text."""
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, path.read_text(encoding="utf-8")


# The catalog


def tables_below(model: type[BaseModel]) -> set[type[BaseModel]]:
    """Return a table of the schema and all tables in it."""
    found = {model}
    for field in model.model_fields.values():
        for inner in catalog._tables_in(field.annotation):
            found |= tables_below(inner)
    return found


def test_every_table_of_the_catalog_has_a_heading():
    assert tables_below(catalog.Catalog) == set(TABLES.values())


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_of_the_catalog_is_documented(heading: str):
    assert_documented("catalog.md", heading, list(TABLES[heading].model_fields))


@pytest.mark.parametrize("heading", [heading for heading in TABLES if heading != "Tables"])
def test_every_default_of_the_catalog_is_the_documented_one(heading: str):
    for row in rows("catalog.md", heading):
        field = TABLES[heading].model_fields[row[0].strip("`")]
        written = row[3].strip("`")
        if field.is_required():
            assert written == "required", row[0]
        elif field.default is None:
            assert written == "none", row[0]
        elif isinstance(field.default, BaseModel):
            assert written == "all defaults", row[0]
        else:
            assert tomllib.loads(f"value = {written}")["value"] == _plain(field.default), row[0]


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def test_every_backbone_is_documented_as_it_is():
    assert_documented("catalog.md", "Backbones", list(NETWORKS))
    for backbone, side, features, widths, pixels in rows("catalog.md", "Backbones"):
        known = NETWORKS[backbone.strip("`")]
        assert (int(side), int(features.replace(",", ""))) == (known.least_side, known.channels), backbone
        assert widths == (", ".join(f"{width:g}" for width in known.widths) or "no alpha"), backbone
        assert pixels == known.preprocessing, backbone


def test_every_kind_of_preprocessing_is_documented():
    kinds = re.findall(r"^- (\w+): ", section("catalog.md", "Backbones"), flags=re.MULTILINE)
    assert kinds == list(SCALES)


def test_every_catalog_example_in_the_documents_is_a_valid_catalog(tmp_path: Path):
    examples = 0
    for path in documents():
        # An example in a list is indented with it.
        for block in re.findall(
            r"^ *```toml\n(.*?)^ *```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        ):
            if not re.search(r"^ *\[+(diseases|profiles|split)", block, re.MULTILINE):
                continue
            examples += 1
            folder = tmp_path / str(examples)
            folder.mkdir()
            name = "profiles.toml" if re.search(r"^ *\[profiles", block, re.MULTILINE) else "diseases.toml"
            kept = _with_its_disease(block) if name == "diseases.toml" else block
            (folder / name).write_text(kept, encoding="utf-8")
            catalog.load_catalog(folder)
    assert examples >= 3


def _with_its_disease(block: str) -> str:
    """Complete an excerpt of a disease, which may lack its title or sources."""
    table = tomllib.loads(block)
    for key, disease in table.get("diseases", {}).items():
        if key in catalog.load_catalog().diseases:
            continue
        if "title" not in disease:
            block = block.replace(f"[diseases.{key}]", f'[diseases.{key}]\ntitle = "x"', 1)
        if "sources" not in disease:
            block += f'\n[[diseases.{key}.sources]]\nfolder = "x"\nnegative = ["0"]\npositive = ["1"]\n'
    return block


# Commands


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[str]]]:
    """Yield every command with its options and arguments."""
    options = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from commands(inner)
        elif not isinstance(action, argparse._HelpAction):
            options.append(action.option_strings[-1] if action.option_strings else action.dest)
    yield parser.prog, options


COMMANDS = dict(commands(cli._parser()))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_documented(command: str):
    assert_documented("commands.md", f"`{command}`", COMMANDS[command])


def test_no_command_is_documented_that_is_not_there():
    text = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## `(radtrain[^`]*)`$", text, re.MULTILINE)) == set(COMMANDS)


def test_every_exit_code_is_documented():
    assert_documented("commands.md", "Exit codes", [str(code) for code in errors.EXIT_CODES])


def test_every_user_error_has_a_known_exit_code():
    kinds = errors.RadtrainError.__subclasses__()
    assert kinds
    assert {kind.exit_code for kind in kinds} <= set(errors.EXIT_CODES)


class Asked(dict):
    """An environment that notes which names it is asked for."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def get(self, name, default=None):
        self.names.append(name)
        return default


def test_every_environment_variable_is_documented():
    asked = Asked()
    read_settings(asked)
    named = [*asked.names, *QUIET]
    for _, text in sources():
        named += re.findall(r'(?:environ|getenv)(?:\.\w+)?[(\[]"([A-Z][A-Z0-9_]+)"', text)
    assert_documented("commands.md", "Environment variables", list(dict.fromkeys(named)))


ESTIMATE = Estimate(0.9, 0.8, 1.0, 10)
FINDING = Finding("x", "class_empty", "warn", "text", "fix")
OUTCOME = Outcome("x", "completed", test={"auroc": ESTIMATE}, findings=(FINDING,))
REPORT = Report("id", "fast", (OUTCOME,), 1.0, "sqlite://", "folder").to_json()


@pytest.mark.parametrize(
    ("heading", "keys"),
    [
        ("The run", list(REPORT)),
        ("A disease", list(REPORT["diseases"]["x"])),
        ("A metric", list(REPORT["diseases"]["x"]["test"]["auroc"])),
        ("A finding", list(REPORT["diseases"]["x"]["findings"][0])),
    ],
)
def test_every_key_of_the_json_report_is_documented(heading: str, keys: list[str]):
    assert_documented("commands.md", heading, keys)


def test_every_key_of_the_json_list_of_cache_spaces_is_documented(capsys: pytest.CaptureFixture[str]):
    cache.show_spaces([SpaceUse("features", "0" * 16, {}, 1, 1, 0.0)], as_json=True, empty="")
    [space] = json.loads(capsys.readouterr().out)
    assert_documented("commands.md", "A cache space", list(space))


# Checks


@pytest.mark.parametrize(
    ("heading", "codes"),
    [
        ("Findings", findings.CODES),
        ("Excluded images", reasons.EXCLUDED),
        ("Unreachable files", reasons.UNREACHABLE),
        ("Unreadable files", reasons.UNREADABLE),
    ],
)
def test_every_code_of_the_checks_is_documented(heading: str, codes: dict[str, str]):
    assert_documented("checks.md", heading, list(codes))


def test_every_finding_that_the_code_makes_has_a_code_of_the_table():
    made = set()
    for path, text in sources():
        for call in ast.walk(ast.parse(text)):
            named = isinstance(call, ast.Call) and getattr(call.func, "id", None) == "Finding"
            if named and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
                made.add(call.args[1].value)
                assert call.args[1].value in findings.CODES, path
    assert made


def test_the_reason_codes_of_a_file_tell_where_they_come_from():
    tables = (reasons.EXCLUDED, reasons.UNREACHABLE, reasons.UNREADABLE)
    assert len(set().union(*tables)) == sum(len(table) for table in tables)


def test_every_limit_is_documented_with_its_value():
    limits = tomllib.loads(judged_by.LIMITS.read_text(encoding="utf-8"))
    written = {row[0].strip("`"): row[1] for row in rows("checks.md", "Limits")}
    from tasks.scan_images import MAX_PIXELS

    known = {name: value for table in limits.values() for name, value in table.items()}
    known |= {"MAX_BYTES": listing.MAX_BYTES, "MAX_PIXELS": MAX_PIXELS}
    assert {name: float(text.split()[0]) for name, text in written.items()} == known


# Tables


@pytest.mark.parametrize("table", contract.TABLES)
def test_every_column_of_the_contract_is_documented_with_its_type(table: str):
    columns, heading = contract.TABLES[table], table.capitalize()
    assert_documented("tables.md", heading, [column.name for column in columns])
    written = {row[0].strip("`"): (row[1], row[2]) for row in rows("tables.md", heading)}
    for column in columns:
        assert written[column.name] == (str(column.type), "yes" if column.nullable else "no"), column.name


# Metrics


def test_every_metric_is_documented():
    measured = measure([0, 1] * 4, [0.1, 0.9] * 4, list(range(8)), threshold=0.5, seed=0, resamples=100)
    assert_documented("metrics.md", "Test metrics", list(measured))


def test_every_name_of_a_test_metric_in_mlflow_is_documented():
    from tasks.record_run import _test_metrics

    logged = [name.replace("auroc", "METRIC") for name, _ in _test_metrics({"auroc": ESTIMATE})]
    assert_documented("metrics.md", "Test metrics of a disease", logged)


def test_every_metric_of_an_epoch_in_mlflow_is_documented(tmp_path: Path):
    from tasks.record_run import _series

    epoch = Epoch(1, 0.7, 0.6, 0.8, 1, 1, 0.1)
    (tmp_path / "history.json").write_text(json.dumps([dataclasses.asdict(epoch)]), encoding="utf-8")
    assert_documented(
        "metrics.md", "Metrics of an epoch", list(dict.fromkeys(name for name, _, _ in _series(tmp_path)))
    )


def test_every_other_metric_of_a_disease_in_mlflow_is_documented():
    [made] = [node for node in ast.walk(_function("_training_metrics")) if isinstance(node, ast.Dict)]
    assert_documented("metrics.md", "Other metrics of a disease", [_key(key) for key in made.keys])


def test_every_metric_of_the_parent_run_in_mlflow_is_documented():
    [metrics] = [
        keyword.value
        for call in ast.walk(_function("close_run"))
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "metrics"
    ]
    logged = [
        _key(part)
        for node in ast.walk(metrics)
        if isinstance(node, (ast.Dict, ast.DictComp))
        for part in ([node.key] if isinstance(node, ast.DictComp) else node.keys)
        if part is not None
    ]
    costs = {
        **Scan(Path(), 1, 1, 0, 1.0).costs(),
        **Extraction(1, 1, {"a": 1}, 1.0, (Embedded(1, 1.0, 0.0),)).costs(),
    }
    costs.update(Forecast(1.0, 1.0, 1.0, 1, 1).costs())
    assert_documented("metrics.md", "Metrics of the parent run", sorted([*logged, *costs, "duration_s"]))


def test_every_tag_in_mlflow_is_documented():
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tasks").glob("*.py")))
    assert_documented("metrics.md", "Tags", sorted(set(re.findall(r'"(radtrain\.[a-z_]+)"', text))))


def _function(name: str) -> ast.FunctionDef:
    tree = ast.parse((ROOT / "tasks" / "record_run.py").read_text(encoding="utf-8"))
    [found] = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return found


def _key(node: ast.expr | None) -> str:
    """Return a key as it is documented: the part of an f-string that varies is DISEASE."""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "DISEASE" for part in node.values)
    assert isinstance(node, ast.Constant), "expected a key that is a text"
    return str(node.value)


# Links, paths and words


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_no_relative_link_of_a_document_is_broken():
    broken = []
    for path in documents():
        for target in re.findall(
            r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", prose(path.read_text(encoding="utf-8"))
        ):
            if re.match(r"[a-z][a-z+.-]*:", target):
                continue
            name, _, anchor = target.partition("#")
            there = (path.parent / name).resolve() if name else path
            if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert not broken, "\n".join(broken)


def test_every_reference_page_is_linked_from_another_document():
    text = {path: path.read_text(encoding="utf-8") for path in documents()}
    for page in ("catalog.md", "commands.md", "checks.md", "tables.md", "metrics.md"):
        assert any(f"{page})" in said for path, said in text.items() if path.name != page), page


def test_every_file_of_the_code_that_a_document_names_is_there():
    missing = []
    for path in documents():
        if path.name == "LOG.md":  # tells of what was, too
            continue
        for name in re.findall(
            r"`((?:flows|tasks|data_checks|tests|docs)/[\w./-]+\.(?:py|toml|md))`",
            prose(path.read_text(encoding="utf-8")),
        ):
            if not (ROOT / name).is_file():
                missing.append(f"{path.relative_to(ROOT)}: {name}")
    assert not missing, "\n".join(missing)


def test_every_document_that_the_code_names_is_there():
    missing = []
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".toml"):
                for name in re.findall(r"docs/[\w./-]+\.md", path.read_text(encoding="utf-8")):
                    if not (ROOT / name).is_file():
                        missing.append(f"{path.relative_to(ROOT)}: {name}")
    assert not missing, "\n".join(missing)


def test_every_word_of_the_glossary_stands_where_it_says():
    text = (ROOT / "GLOSSARY.md").read_text(encoding="utf-8")
    places = re.findall(r"`([\w./]+\.py)` `(\w+)`", text)
    assert len(places) >= len(re.findall(r"^\| (?!word|---)", text, re.MULTILINE))
    for file, name in places:
        defined = {
            found
            for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body
            for found in _defined(node)
        }
        assert name in defined, f"GLOSSARY.md: {file} defines no {name}"


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [node.target.id] if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else []


def test_the_words_of_the_glossary_stand_in_the_order_of_the_alphabet():
    words = re.findall(r"^\| (?!word|---)([^|]+?) \|", (ROOT / "GLOSSARY.md").read_text(), re.MULTILINE)
    assert words == sorted(words)
