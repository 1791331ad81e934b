"""What answers at an address: real servers on 127.0.0.1, closed ports, real and broken databases."""

from __future__ import annotations

import contextlib
import http.server
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version

import pytest

from tasks.ask_servers import PATIENCE_S, ask, ask_mlflow, ask_prefect, require_mlflow
from tasks.core.errors import TrackingError


@contextlib.contextmanager
def serving(pages: Mapping[str, str], *, delay_s: float = 0.0) -> Iterator[str]:
    """Serve texts by path on a free port; every other path is 503."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(delay_s)
            with contextlib.suppress(BrokenPipeError):
                self.send_response(200 if self.path in pages else 503)
                self.end_headers()
                self.wfile.write(pages.get(self.path, "").encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def closed() -> str:
    """A port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


# Prefect


def test_no_prefect_server_named_is_fine_where_a_port_can_be_had():
    line = ask_prefect("")
    assert (line.state, line.remedy) == ("ok", "")
    assert "each run starts one of its own" in line.text


def test_a_prefect_server_of_the_same_version_is_ok():
    with serving({"/api/health": "true", "/api/admin/version": f'"{version("prefect")}"'}) as place:
        line = ask_prefect(f"http://{place}/api")
    assert (line.state, line.text) == ("ok", f"http://{place}/api answers, version {version('prefect')}")


def test_a_real_prefect_server_tells_the_version_of_its_package(prefect_server):
    from prefect.settings import PREFECT_API_URL

    line = ask_prefect(PREFECT_API_URL.value())
    assert line.state == "ok"
    assert line.text.endswith(f"answers, version {version('prefect')}")


def test_a_prefect_server_of_another_version_is_a_warning():
    with serving({"/api/health": "true", "/api/admin/version": '"3.0.1"'}) as place:
        line = ask_prefect(f"http://{place}/api/")
    assert line.state == "warn"
    assert "3.0.1" in line.text


def test_a_version_that_is_none_is_not_repeated():
    with serving({"/api/health": "true", "/api/admin/version": "\033[2J<b>"}) as place:
        line = ask_prefect(f"http://{place}/api")
    assert line.text.endswith("version not told")


def test_a_prefect_address_without_api_is_said_to_be_one():
    with serving({"/health": "<html>a page for people</html>"}) as place:
        line = ask_prefect(f"http://{place}")
    assert (line.state, line.exit_code) == ("fail", 16)
    assert "ends in /api" in line.remedy


def test_a_closed_port_is_told_in_the_systems_words(closed):
    line = ask_prefect(f"http://{closed}/api")
    assert (line.state, line.exit_code) == ("fail", 16)
    assert line.text == f"http://{closed}/api does not answer at /health: Connection refused"


def test_a_server_that_keeps_silent_is_waited_for_no_longer_than_was_said():
    began = time.monotonic()
    with serving({"/health": "true"}, delay_s=1.0) as place:
        answer = ask(f"http://{place}/health", patience_s=0.2)
        waited = time.monotonic() - began
    assert answer.trouble == "nothing came in time"
    assert waited < 0.9


@pytest.mark.parametrize("scheme", ["http://me:hunter2@", "http://me:hunter2@x:y@", "me:hunter2@"])
def test_prefects_credentials_are_neither_sent_nor_shown(closed, scheme):
    line = ask_prefect(f"{scheme}{closed}/api")
    assert (line.state, line.exit_code) == ("fail", 16)
    assert "hunter2" not in str(line)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:4200/api", "file:///etc/passwd", "http://[x/api", "http://h:p/api"]
)
def test_what_is_no_http_address_is_not_opened(address):
    line = ask_prefect(address)
    assert line.state == "fail"
    assert "is no http address" in line.text
    assert "export PREFECT_API_URL=" in line.remedy


# MLflow


def test_an_mlflow_server_tells_its_version(tmp_path):
    with serving({"/health": "OK", "/version": "3.17.2"}) as place:
        line = ask_mlflow(f"http://me:hunter2@{place}", home=tmp_path)
    assert (line.state, line.text) == ("ok", f"http://{place} answers, version 3.17.2")


def test_an_mlflow_server_that_is_down_or_ill_fails(closed, tmp_path):
    with serving({}) as place:
        assert "HTTP 503" in ask_mlflow(f"http://{place}", home=tmp_path).text
    line = ask_mlflow(f"http://me:hunter2@{closed}", home=tmp_path)
    assert (line.state, line.exit_code) == ("fail", 13)
    assert "Connection refused" in line.text
    assert "hunter2" not in str(line)


@pytest.mark.parametrize("user", ["", "user:hunter2@"])
def test_an_mlflow_server_that_cannot_be_there_is_an_error_before_a_run(closed, user):
    with pytest.raises(TrackingError, match="MLflow cannot be reached or written") as raised:
        require_mlflow(f"http://{user}{closed}")
    assert "hunter2" not in str(raised.value)


def test_what_only_mlflow_can_judge_is_left_to_it(closed):
    with serving({"/other": "OK"}) as place:  # 404 at /health: some hosted servers have none
        require_mlflow(f"http://user:hunter2@{place}")
        require_mlflow(f"https://{place}")  # no TLS there: as little an answer as a certificate of one's own
    with serving({"/health": "OK"}, delay_s=PATIENCE_S + 0.5) as place:
        require_mlflow(f"http://{place}")
    for address in (f"postgresql://{closed}/mlflow", "sqlite:////nowhere/mlflow.db", "databricks"):
        require_mlflow(address)


def test_a_database_server_is_reached_or_not(closed, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        line = ask_mlflow(f"postgresql+psycopg2://me:hunter2@{place}/db?password=hunter2", home=tmp_path)
    assert line.state == "ok"
    assert line.text == f"postgresql+psycopg2://{place}/db: something listens there"
    line = ask_mlflow(f"postgresql://me:hunter2@{closed}/db", home=tmp_path)
    assert (line.state, line.exit_code) == ("fail", 13)
    assert "Connection refused" in line.text
    assert "hunter2" not in str(line)


@pytest.mark.parametrize("address", ["mlruns", "file:///data/mlruns", "http://:0"])
def test_an_address_that_mlflow_would_refuse_fails(address, tmp_path):
    line = ask_mlflow(address, home=tmp_path)
    assert (line.state, line.exit_code) == ("fail", 13)
    assert "MLFLOW_TRACKING_URI" in line.remedy


def test_an_address_of_another_kind_is_left_alone(tmp_path):
    assert ask_mlflow("databricks://profile", home=tmp_path).state == "ok"


# SQLite


def database(folder, name="mlflow.db"):
    path = folder / name
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE runs (name TEXT)")
        connection.executemany("INSERT INTO runs VALUES (?)", [("x" * 500,)] * 500)
        connection.commit()
    return path


def test_a_new_database_is_made_by_the_first_run_and_not_by_the_question(tmp_path):
    line = ask_mlflow(f"sqlite:///{tmp_path}/mlflow.db", home=tmp_path)
    assert (line.state, line.text) == ("ok", f"the first run makes {tmp_path}/mlflow.db")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["mlflow.db", "a@b.db", "a#b%20.db"])
def test_a_whole_database_is_ok_and_nothing_is_left_beside_it(tmp_path, name):
    path = database(tmp_path, name)
    before = path.read_bytes()
    line = ask_mlflow(f"sqlite:///{path}", home=tmp_path)
    assert (line.state, line.text) == ("ok", f"{path}, whole")
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_fails_and_is_left_as_it_is(tmp_path):
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"no database at all" * 100)
    line = ask_mlflow(f"sqlite:///{path}", home=tmp_path)
    assert (line.state, line.exit_code) == ("fail", 13)
    assert line.text == f"{path}: file is not a database"
    assert f"move {path} away" in line.remedy
    assert path.read_bytes() == b"no database at all" * 100


def test_a_damaged_page_is_found(tmp_path):
    path = database(tmp_path)
    content = bytearray(path.read_bytes())
    content[8192:12288] = b"\xff" * 4096
    path.write_bytes(content)
    line = ask_mlflow(f"sqlite:///{path}", home=tmp_path)
    assert (line.state, line.exit_code) == ("fail", 13)
    assert "move" in line.remedy


def test_a_database_that_another_program_writes_is_a_warning(tmp_path):
    path = database(tmp_path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        line = ask_mlflow(f"sqlite:///{path}", home=tmp_path)
    assert line.state == "warn"
    assert "in use by another program" in line.text
    assert line.remedy


def test_a_database_that_cannot_be_written_fails(tiny_disk):
    path = tiny_disk / "mlflow.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE runs (name TEXT)")
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    line = ask_mlflow(f"sqlite:///{path}", home=tiny_disk)
    assert (line.state, line.exit_code) == ("fail", 13)
    assert "readonly" in line.text
    assert line.remedy == "make the file and its folder writable for you"


def test_a_database_in_a_folder_that_is_not_there_fails(tmp_path):
    line = ask_mlflow(f"sqlite:///{tmp_path}/gone/mlflow.db", home=tmp_path)
    assert (line.state, line.exit_code) == ("fail", 13)
    assert f"{tmp_path}/gone" in line.text
    assert "make it" in line.remedy


def test_a_home_that_is_not_made_yet_is_no_fault_of_its_database(tmp_path):
    home = tmp_path / "home"
    assert ask_mlflow(f"sqlite:///{home}/mlflow.db", home=home).state == "ok"


def test_a_database_in_memory_is_a_warning(tmp_path):
    assert ask_mlflow("sqlite://", home=tmp_path).state == "warn"
    assert ask_mlflow("sqlite:///:memory:", home=tmp_path).state == "warn"
