"""The page over HTTP: what is served, what is refused, and that nothing else of the disk can be read."""

import contextlib
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import mne
import numpy as np
import psutil
import pytest
import requests
import uvicorn

from bad_uploads import HTML, bad_uploads, epochs_of, fif, hidden_directory
from explored import MOST_BYTES, N_TIMES, left_behind, served, upload
from sentences import one_sentence
from ubp.cli import main
from ubp.data.to_epochs import to_epochs
from ubp.errors import InputError
from ubp.explore.guard import HEADERS, is_loopback
from ubp.explore.server import FAILED, page_files
from ubp.explore.session import Session
from ubp.explore.uploads import title_of


@pytest.fixture(scope="module")
def session(explored):
    return explored.session()


@pytest.fixture(scope="module")
def base(session):
    with served(session) as address:
        yield address


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Epochs that lie beside the study, which no upload may lead to."""
    path = tmp_path_factory.mktemp("other") / "secret-epo.fif"
    epochs_of(n=7).save(path, verbose="error")
    return path


@pytest.fixture(scope="module")
def bad(tmp_path_factory, other):
    return bad_uploads(tmp_path_factory.mktemp("bad"), other)


def get(base, path, **options):
    return requests.get(f"{base}{path}", timeout=60, **options)


def told(response, status=400):
    """The one sentence of a refusal."""
    assert response.status_code == status
    sentence = response.json()["error"]
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    return sentence


def test_the_page_tells_what_the_session_tells(base, session):
    asked = {"source": "sub-01", "repetitions": "2", "query": 3}
    overview = get(base, "/api/overview").json()
    assert overview.items() >= json.loads(json.dumps(session.overview())).items()
    for name in ("trial", "confusions"):
        expected = json.loads(json.dumps(getattr(session, name)("sub-01", "2", 3)))
        assert get(base, f"/api/{name}", params=asked).json() == expected
    for name, method in (("source", session.source), ("scores", session.scores), ("plane", session.plane)):
        assert get(base, f"/api/{name}", params=asked).json() == json.loads(json.dumps(method("sub-01", "2")))
    values = np.frombuffer(get(base, "/api/signal", params=asked).content, "<f4").reshape(6, N_TIMES)
    assert np.array_equal(values, session.signal("sub-01", "2", 3))
    head = get(base, "/api/head").json()
    assert head["points"] == session.head().points.tolist()
    assert head["picks"] == list(range(6))
    run = overview["run"]
    assert get(base, f"/image/{run}/5").content == session.pictures.thumbnail(5)
    assert get(base, f"/blurred/{run}/5/13").content == session.pictures.blurred(5, 13)


def test_every_answer_forbids_the_browser_what_the_page_does_not_need(base):
    for path in ("/", "/page/main.js", "/page/page.css", "/api/overview", "/nothing", "/image/x/0", "/image/x/99"):
        response = get(base, path)
        for name, value in HEADERS.items():
            assert response.headers[name] == value
        assert "server" not in response.headers
    policy = HEADERS["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


FORBIDDEN = (
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "eval(",
    "Function(",
    " style=",
    " onclick",
)


def test_the_page_names_no_other_host_and_makes_no_markup_of_text():
    files = page_files()
    assert {"index.html", "page.css", "main.js", "icon.svg"} <= set(files)
    for name, content in files.items():
        text = content.decode()
        found = set(re.findall(r"(?:https?:)?//[a-z][\w.-]+\.[a-z]+", text)) - {"http://www.w3.org"}
        assert not found, name
        for word in FORBIDDEN:
            assert word not in text, (name, word)


def test_what_is_not_there_is_told(base):
    assert told(get(base, "/nothing"), 404) == "There is no such page."
    assert get(base, "/api/upload").status_code == 405
    assert "expected a number from 0 to 11" in told(get(base, "/image/x/12"))
    assert "expected an odd number" in told(get(base, "/blurred/x/1/4"))
    assert "expected an odd number" in told(get(base, "/blurred/x/1/999999999999"))
    asked = {"source": "sub-01", "repetitions": "all"}
    for query in ("", "x", "-1", "1e3", "٣", "99999999999", "1.0"):
        assert "is no number" in told(get(base, "/api/trial", params={**asked, "query": query}))
    assert "no query 12" in told(get(base, "/api/trial", params={**asked, "query": "12"}))
    assert "no recording" in told(get(base, "/api/trial", params={"query": "0"}))
    assert "is no number" in told(get(base, "/api/trial"))
    assert "no repetitions" in told(get(base, "/api/source", params={"source": "sub-01", "repetitions": "64"}))


PATHS = (
    "{}",
    "../{}",
    "../../../../../../{}",
    "%2e%2e/%2e%2e/%2e%2e/%2e%2e/{}",
    "..%2f..%2f..%2f..%2f{}",
    "..%5c..%5c{}",
    "%252e%252e%252f{}",
    "/{}",
    "//{}",
    "%2f{}",
    "....//{}",
    "{}%00.js",
    "file://{}",
)


@pytest.mark.parametrize("form", PATHS)
def test_no_file_outside_the_study_is_read(base, explored, form):
    """Nor one inside, but for the page's own files and its pictures by number."""
    secret = explored.study.root / "dataset.json"
    word = "Nobody, 2000"
    assert word in secret.read_text()
    host, port = base.removeprefix("http://").split(":")
    for place in (secret, explored.study.root / "sub-01" / "trials.csv"):
        path = form.format(str(place).lstrip("/"))
        for before in ("/", "/page/", "/page/../", "/image/x/", "/blurred/x/", "/image/", "/api/", "/static/"):
            with socket.create_connection((host, int(port)), 30) as connection:
                line = f"GET {before}{path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
                connection.sendall(line.encode())
                answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin-1")
            assert answer.split(" ")[1] in ("400", "404"), (before, path)
            assert word not in answer
            assert "concept-0" not in answer
    for name in ("source", "trial", "plane", "signal", "confusions"):
        asked = {"source": urllib.parse.unquote(form.format(secret)), "repetitions": "all", "query": 0}
        assert word not in told(get(base, f"/api/{name}", params=asked))


def test_a_link_out_of_the_study_is_not_followed_and_its_place_not_told(explored, tmp_path):
    root = shutil.copytree(explored.study.root, tmp_path / "study")
    session = Session.open(explored.model, root, common=explored.common)
    secret = tmp_path / "secret.png"
    secret.write_bytes(session.pictures.thumbnail(0))
    image = root / "images" / session.pictures.images[4]
    image.unlink()
    image.symlink_to(secret)
    with served(session) as base:
        for path in ("/image/x/4", "/blurred/x/4/1", "/blurred/x/4/13"):
            sentence = told(get(base, path))
            assert "leaves" in sentence
            assert str(tmp_path) not in sentence
        assert get(base, "/image/x/5").status_code == 200


def test_only_names_of_this_machine_are_answered(base):
    port = base.rsplit(":", 1)[1]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost", f"[::1]:{port}", f"LOCALHOST:{port}"):
        assert get(base, "/api/overview", headers={"host": host}).status_code == 200
    foreign = (
        f"evil.example:{port}",
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "",
    )
    for host in foreign:
        response = get(base, "/api/overview", headers={"host": host})
        assert response.status_code in (400, 403), host
        assert "sub-01" not in response.text


def test_only_the_page_itself_may_send_something(base):
    array = npy(2)
    assert upload(base, "a.npy", array, origin=base).status_code == 200
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": base.replace("http:", "https:")},
        {"origin": "http://127.0.0.1:1"},
        {"x-requested-with": "XMLHttpRequest"},
    ):
        assert upload(base, "a.npy", array, **headers).status_code == 403
    bare = requests.post(f"{base}/api/upload", params={"name": "a.npy"}, data=array, timeout=60)
    assert bare.status_code == 403
    asking = requests.options(f"{base}/api/upload", headers={"origin": "http://evil.example"}, timeout=60)
    assert asking.status_code == 403


def npy(n=3, seed=0):
    handle = io.BytesIO()
    np.save(handle, np.random.default_rng(seed).normal(size=(n, 6, N_TIMES)).astype(np.float32))
    return handle.getvalue()


def test_a_recording_is_taken_and_answered_as_retrieve_does(base, session, explored, tmp_path):
    epochs = to_epochs(explored.study.recording("sub-01"))[-8:]
    path = tmp_path / "mine-epo.fif"
    epochs.save(path, verbose="error")
    response = upload(base, "mine-epo.fif", path.read_bytes())
    assert response.status_code == 200
    entry = response.json()
    assert (entry["title"], entry["trials"], entry["from_study"]) == ("mine-epo.fif", 8, False)
    expected = session.retriever.retrieve(path)
    found = get(base, "/api/source", params={"source": entry["name"], "repetitions": "each"}).json()
    assert [one["rank"] for one in found["queries"]] == expected.rank().tolist()
    assert entry in get(base, "/api/overview").json()["sources"]
    micro = upload(base, "a.npy", npy(seed=1), origin=base)
    scaled = requests.post(
        f"{base}/api/upload",
        params={"name": "b.npy", "multiply": "1e-6"},
        data=micro_of(npy(seed=1)),
        headers={"x-requested-with": "ubp"},
        timeout=60,
    )
    asked = {"repetitions": "each", "query": 1}
    one, two = (
        get(base, "/api/trial", params={"source": reply.json()["name"], **asked}).json() for reply in (micro, scaled)
    )
    assert [best["row"] for best in one["best"]] == [best["row"] for best in two["best"]]
    assert left_behind() == []


def test_another_unit_is_told_without_an_option_of_the_terminal(base):
    answer = upload(base, "micro.npy", micro_of(npy(seed=1)))
    assert answer.status_code == 400
    assert "multiply them by 1e-06 if that is so" in answer.json()["error"]
    assert "--" not in answer.json()["error"]


def micro_of(data):
    handle = io.BytesIO()
    np.save(handle, 1e6 * np.load(io.BytesIO(data)))
    return handle.getvalue()


def test_bad_files_are_refused_with_a_sentence_and_the_page_stays_alive(base, bad, other, tmp_path):
    secret = other.read_bytes()
    overview = get(base, "/api/overview").json()
    for case, one in bad.items():
        response = upload(base, one.name, one.content)
        if not one.says:
            continue
        sentence = told(response)
        assert one.says in sentence, case
        for hidden in ("recording-epo", "ubp-explore-", str(other)):
            assert hidden not in sentence, case
        assert get(base, "/api/overview").status_code == 200, case
    for factor in ("0", "nan", "inf", "x", ""):
        response = requests.post(
            f"{base}/api/upload",
            params={"name": "a.npy", "multiply": factor},
            data=npy(),
            headers={"x-requested-with": "ubp"},
            timeout=60,
        )
        assert "expected a finite number" in told(response)
    after = get(base, "/api/overview").json()
    brought = [one["title"] for one in after["sources"] if one not in overview["sources"]]
    assert brought in ([], ["a-epo.fif"])
    assert left_behind() == []
    assert not list(tmp_path.parent.glob("**/owned"))  # a pickle would have made it
    assert other.read_bytes() == secret


def test_a_file_leads_mne_to_no_other(base, tmp_path, other):
    """mne itself would follow the directory of this one."""
    path = tmp_path / "a-epo.fif"
    path.write_bytes(hidden_directory(fif(tmp_path, epochs_of()), other))
    with pytest.raises(RuntimeError, match="samples were not unique"):  # of this file and the other together
        mne.read_epochs(path, verbose="error")
    response = upload(base, "a-epo.fif", path.read_bytes())
    assert (response.status_code, response.json()["trials"]) == (200, 3)


def test_an_upload_is_bounded_while_it_is_read(base):
    large = npy(n=2 * MOST_BYTES // (4 * 6 * N_TIMES))
    assert "has more than" in told(upload(base, "large.npy", large), 413)

    sent = []

    def endless():
        for _ in range(10_000):
            sent.append(1)
            yield bytes(100_000)

    with contextlib.suppress(requests.ConnectionError):
        assert "has more than" in told(upload(base, "endless.npy", endless()), 413)
    assert len(sent) < 5000
    assert left_behind() == []
    assert get(base, "/api/overview").status_code == 200


def test_an_upload_that_breaks_off_leaves_nothing(base):
    host, port = base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 30) as connection:
        head = f"POST /api/upload?name=a.npy HTTP/1.1\r\nHost: {host}:{port}\r\nX-Requested-With: ubp\r\n"
        connection.sendall(f"{head}Content-Length: 100000\r\n\r\n".encode() + bytes(5000))
        deadline = time.monotonic() + 20
        while not left_behind() and time.monotonic() < deadline:
            time.sleep(0.02)
        busy = upload(base, "b.npy", npy())
        assert "wait until that is done" in told(busy)
    while left_behind() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left_behind() == []
    assert upload(base, "b.npy", npy()).status_code == 200


def test_names_of_files_are_no_paths():
    assert title_of("../../a b.FIF") == ("a b.FIF", ".fif")
    assert title_of(f"{HTML}.npy") == (f"{HTML}.npy", ".npy")
    assert title_of("a\x00\n\u202eb.npy") == ("ab.npy", ".npy")
    long, _ = title_of("x" * 5000 + ".npy")
    assert len(long) == 80
    for name in ("", "..", "a", "a.npz", ".npy/..", ".npy"):
        with pytest.raises(InputError) as error:
            title_of(name)
        one_sentence(error, "expected epochs (-epo.fif)")


def test_loopback_addresses_are_known():
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", ""))


@contextlib.contextmanager
def command(explored, *options):
    """The command as typed, and what it says until the page is there."""
    line = [sys.executable, "-c", "from ubp.cli import main; main()", "explore", explored.model, explored.study.root]
    line += ["--store", explored.common.store, "--no-browser", "--quiet", *options]
    process = subprocess.Popen(list(map(str, line)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = []
    try:
        for text in process.stdout:
            said.append(text)
            if "http://" in text:
                break
        yield process, "".join(said)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def listening(process):
    return {
        connection.laddr.ip
        for one in (process, *process.children(recursive=True))
        for connection in one.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_the_command_listens_on_loopback_until_it_is_stopped(explored):
    with command(explored, "--port", "0") as (process, said):
        base = re.search(r"http://127\.0\.0\.1:\d+", said).group()
        assert "Warning" not in said
        assert listening(psutil.Process(process.pid)) == {"127.0.0.1"}
        assert get(base, "/api/overview").json()["model"]["title"] == "ubp for sub-01"
        assert "What the model found" in get(base, "/").text
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert rest.strip() == "Stopped."


def test_another_address_comes_with_a_warning(explored, capfd, monkeypatch):
    found = {}
    run = uvicorn.Server.run

    def visited(server, sockets):
        thread = threading.Thread(target=run, args=(server, sockets))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        base = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        found["host"] = sockets[0].getsockname()[0]
        found["status"] = get(base, "/api/overview", headers={"host": "my-machine:80"}).status_code
        server.should_exit = True
        thread.join(30)

    monkeypatch.setattr(uvicorn.Server, "run", visited)
    options = ["--host", "0.0.0.0", "--port", "0", "--no-browser", "--store", str(explored.common.store)]
    with pytest.raises(SystemExit) as stop:
        main(["explore", str(explored.model), str(explored.study.root), *options])
    assert not stop.value.code
    printed = capfd.readouterr()
    assert found == {"host": "0.0.0.0", "status": 200}
    assert "Warning: 0.0.0.0 can be reached from other machines" in printed.err
    assert "http://127.0.0.1:" in printed.out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--port", "70000"), "The port is 70000"),
        (("--port", "-1"), "The port is -1"),
        (("--host", "256.1.1.1"), "cannot be listened on"),
        (("--host", "no such host"), "cannot be listened on"),
        (("--max-upload-mb", "0"), "largest upload"),
        (("--max-upload-mb", "nan"), "largest upload"),
    ],
)
def test_wrong_options_are_refused(explored, capsys, options, says):
    with pytest.raises(SystemExit) as stop:
        main(["explore", str(explored.model), str(explored.study.root), "--no-browser", *options])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("ubp: ")
    assert says in error
    assert len(error.splitlines()) == 1


def test_a_port_in_use_and_missing_folders_are_told(explored, capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        cases = (
            ((explored.model, explored.study.root, "--port", port), "choose another --port"),
            ((tmp_path, explored.study.root, "--port", "0"), "does not exist"),
            ((explored.model, tmp_path, "--port", "0"), "dataset.json"),
            ((explored.model, tmp_path / "none", "--port", "0"), "is not a folder"),
        )
        for arguments, says in cases:
            with pytest.raises(SystemExit) as stop:
                main(["explore", *map(str, arguments), "--no-browser", "--store", str(explored.common.store)])
            assert stop.value.code == 2
            assert says in capsys.readouterr().err


def test_a_missing_server_is_told_with_what_to_install(explored, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit) as stop:
        main(["explore", str(explored.model), str(explored.study.root), "--no-browser"])
    assert stop.value.code == 1
    assert "pip install 'ubp[web]'" in capsys.readouterr().err


def test_a_failure_of_the_program_is_told_and_the_page_stays_alive(base, session, monkeypatch):
    def fail(*_):
        raise RuntimeError("a secret of the program")

    monkeypatch.setattr(session, "trial", fail)
    response = get(base, "/api/trial", params={"source": "sub-01", "repetitions": "all", "query": 0})
    assert told(response, 500) == FAILED
    assert response.headers["x-content-type-options"] == "nosniff"
    monkeypatch.undo()
    assert get(base, "/api/trial", params={"source": "sub-01", "repetitions": "all", "query": 0}).status_code == 200


def test_several_ask_at_once(base, session):
    def ask(query):
        asked = {"source": "sub-02", "repetitions": "1", "query": query}
        return get(base, "/api/trial", params=asked).json()

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(ask, [*range(12)] * 2))
    assert found[:12] == found[12:]
    assert found[4] == json.loads(json.dumps(session.trial("sub-02", "1", 4)))
