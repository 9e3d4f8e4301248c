"""The parts of the Hugging Face hub's API that a push and a pull use, on 127.0.0.1; large files lie on another port."""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
from urllib.parse import unquote

import yaml

TOKEN = "hf_right"
LARGE = (".safetensors",)


class Hub:
    """Repositories: branches to commits, commits to files; and a log of (method, path, Authorization)."""

    def __init__(self):
        self.repositories, self.visibility, self.commits, self.blobs = {}, {}, {}, {}
        self.log, self.url, self.store_url = [], "", ""

    def files(self, name, revision="main"):
        commit = self.repositories.get(name, {}).get(revision, revision)
        return self.commits.get(commit)

    def commit(self, name, branch, files):
        known = json.dumps([name, len(self.commits), sorted(files)]).encode()
        commit = hashlib.sha1(known).hexdigest()
        self.commits[commit] = files
        self.repositories[name][branch] = commit
        return commit


@contextlib.contextmanager
def serving_hub():
    hub = Hub()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            pass

        def send(self, status, content=b"", **headers):
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def read(self):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def handle_any(self):
            path = unquote(self.path.partition("?")[0])
            hub.log.append((self.command, path, self.headers.get("Authorization")))
            body = self.read()
            for method, pattern, answer in ROUTES:
                found = re.fullmatch(pattern, path)
                if method == self.command and found:
                    answer(self, body, *found.groups())
                    return
            self.send(404, {"error": "no such route"})

        do_GET = do_HEAD = do_POST = do_PUT = handle_any

        def allowed(self, name=None, write=False):
            """Whether the request may go on; else it is answered, as the hub does for what one may not see."""
            right = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            if name is not None and name not in hub.repositories:
                self.send(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
            elif not right and (write or hub.visibility.get(name) == "private"):
                self.send(401, {"error": "Invalid username or password."})
            else:
                return True
            return False

        def create(self, body):
            if not self.allowed(write=True):
                return
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in hub.repositories:
                self.send(409, {"error": "You already created this model repo", "url": f"{hub.url}/{name}"})
                return
            hub.repositories[name] = {}
            private = asked.get("private") or asked.get("visibility") == "private"
            hub.visibility[name] = "private" if private else "public"
            hub.commit(name, "main", {".gitattributes": b"*.safetensors filter=lfs\n"})
            self.send(200, {"url": f"{hub.url}/{name}"})

        def branch(self, body, name, branch):
            if self.allowed(name, write=True):
                known = branch in hub.repositories[name]
                hub.repositories[name].setdefault(branch, hub.repositories[name]["main"])
                self.send(409 if known else 200, {"error": "Reference already exists"} if known else {})

        def info(self, body, name, revision="main"):
            if self.allowed(name):
                commit = hub.repositories[name].get(revision, revision)
                if commit not in hub.commits:
                    self.send(404, {"error": "Invalid rev id"}, X_Error_Code="RevisionNotFound")
                else:
                    self.send(
                        200, {"id": name, "sha": commit, "siblings": [{"rfilename": f} for f in hub.commits[commit]]}
                    )

        def tree(self, body, name, revision):
            if self.allowed(name):
                rows = [
                    {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for path, data in hub.files(name, revision).items()
                ]
                self.send(200, rows)

        def check_yaml(self, body):
            content = json.loads(body)["content"]
            data = yaml.safe_load(re.match("---\n(.*?)\n---\n", content, re.S)[1])
            wrong = not isinstance(data, dict) or not all(isinstance(tag, str) for tag in data.get("tags", []))
            self.send(400 if wrong else 200, {"errors": [{"message": "tags"}] if wrong else [], "warnings": []})

        def preupload(self, body, name, branch):
            if self.allowed(name, write=True):
                modes = [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                        "shouldIgnore": False,
                    }
                    for file in json.loads(body)["files"]
                ]
                self.send(200, {"files": modes})

        def batch(self, body, name):
            if self.allowed(name, write=True):
                objects = [
                    {**one, "actions": {"upload": {"href": f"{hub.store_url}/upload/{one['oid']}"}}}
                    for one in json.loads(body)["objects"]
                ]
                self.send(200, {"objects": objects, "transfer": "basic"})

        def put_blob(self, body, oid):
            hub.blobs[oid] = body
            self.send(200 if hashlib.sha256(body).hexdigest() == oid else 400)

        def commit(self, body, name, branch):
            if not self.allowed(name, write=True):
                return
            files = dict(hub.files(name, branch))
            for line in body.splitlines():
                item = json.loads(line)
                value = item["value"]
                if item["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif item["key"] == "lfsFile":
                    files[value["path"]] = hub.blobs[value["oid"]]
                elif item["key"] == "deletedFile":
                    del files[value["path"]]
            oid = hub.commit(name, branch, files)
            self.send(200, {"commitUrl": f"{hub.url}/{name}/commit/{oid}", "commitOid": oid})

        def resolve(self, body, name, revision, path):
            if not self.allowed(name):
                return
            data = (hub.files(name, revision) or {}).get(path)
            if data is None:
                self.send(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
            elif path.endswith(LARGE):
                oid = hashlib.sha256(data).hexdigest()
                hub.blobs[oid] = data
                where = f"{hub.store_url}/blob/{oid}"
                self.send(302, Location=where, X_Linked_Etag=f'"{oid}"', X_Linked_Size=str(len(data)))
            else:
                self.send(200, data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', Content_Type="text/plain")

        def blob(self, body, oid):
            self.send(200, hub.blobs[oid], Content_Type="application/octet-stream")

    repository, revision = "([^/]+/[^/]+?)", "([^/]+)"
    ROUTES = [
        ("POST", "/api/repos/create", Handler.create),
        ("POST", f"/api/models/{repository}/branch/(.+)", Handler.branch),
        ("GET", f"/api/models/{repository}/revision/(.+)", Handler.info),
        ("GET", f"/api/models/{repository}", Handler.info),
        ("GET", f"/api/models/{repository}/tree/(.+)", Handler.tree),
        ("POST", "/api/validate-yaml", Handler.check_yaml),
        ("POST", f"/api/models/{repository}/preupload/(.+)", Handler.preupload),
        ("POST", rf"/{repository}\.git/info/lfs/objects/batch", Handler.batch),
        ("POST", f"/api/models/{repository}/commit/(.+)", Handler.commit),
        ("GET", f"/{repository}/resolve/{revision}/(.+)", Handler.resolve),
        ("PUT", "/upload/([0-9a-f]{64})", Handler.put_blob),
        ("GET", "/blob/([0-9a-f]{64})", Handler.blob),
    ]
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
    hub.url, hub.store_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    threads = []
    for server in servers:
        server.daemon_threads = True
        server.handle_error = lambda *_: None
        threads.append(threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True))
        threads[-1].start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()
