"""A small web server on 127.0.0.1 that misbehaves as told."""

import contextlib
import http.server
import re
import threading
from dataclasses import dataclass, field


@dataclass
class Page:
    """A file to serve: `cuts` lists after how many bytes of the body each of the first answers breaks off."""

    content: bytes
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ranges: bool = True
    length: int | None = 0
    headers: dict[str, str] = field(default_factory=dict)
    etag: str | None = '"one"'
    redirect: str | None = None


class Server:
    """Pages by path, and a log of (method, path, Range header)."""

    def __init__(self):
        self.pages: dict[str, Page] = {}
        self.log: list[tuple[str, str, str | None]] = []
        self.url = ""

    def put(self, path, content, **options):
        self.pages[path] = Page(content, **options)
        return f"{self.url}{path}"

    def gets(self, path):
        return [wanted for method, asked, wanted in self.log if (method, asked) == ("GET", path)]


@contextlib.contextmanager
def serving():
    server = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            pass

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body):
            wanted = self.headers.get("Range")
            server.log.append((self.command, self.path, wanted))
            page = server.pages.get(self.path)
            status = 404 if page is None else page.statuses.pop(0) if page.statuses else 200
            if page is None or status >= 400:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if page.redirect:
                self.send_response(302)
                self.send_header("Location", page.redirect)
                self.send_header("Content-Length", "0")
                for name, value in page.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                return
            total, start = len(page.content), 0
            same = self.headers.get("If-Range") in (None, page.etag)
            if wanted and page.ranges and same:
                start = int(re.fullmatch(r"bytes=(\d+)-\d*", wanted)[1])
                if start >= total:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{total}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                status = 206
            self.send_response(status)
            if page.length is None:
                self.send_header("Connection", "close")
            else:
                self.send_header("Content-Length", str(total - start + page.length))
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total + (page.length or 0)}")
            if page.etag:
                self.send_header("ETag", page.etag)
            for name, value in page.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                part = page.content[start:]
                cut = page.cuts.pop(0) if page.cuts else None
                self.wfile.write(part if cut is None else part[:cut])
            self.close_connection = bool(body)

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.daemon_threads = True
    web.handle_error = lambda *_: None  # a client that hangs up is no news
    server.url = f"http://127.0.0.1:{web.server_address[1]}"
    thread = threading.Thread(target=lambda: web.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        web.shutdown()
        web.server_close()
        thread.join()
