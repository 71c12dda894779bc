"""A browser's requests to the hub of the made-up machine, whose network is its own."""

import ctypes
import http.client
import http.cookies
import json
import os
import socket
import threading
import time
import urllib.parse

_CLONE_NEWNET = 0x40000000
_PORT = 8000


class NamespaceConnection(http.client.HTTPConnection):
    """A connection within the network of a process."""

    def __init__(self, pid, port, timeout_s):
        super().__init__("127.0.0.1", port, timeout=timeout_s)
        self.pid = pid

    def connect(self):
        made = []

        def make():  # a thread changes its own network only
            with open(f"/proc/{self.pid}/ns/net") as network:
                if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), _CLONE_NEWNET) == 0:
                    made.append(socket.socket())

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        (self.sock,) = made
        self.sock.settimeout(self.timeout)
        self.sock.connect((self.host, self.port))


class Answer:
    """What the server said."""

    def __init__(self, status, headers, content):
        self.status, self.headers, self.content = status, headers, content

    @property
    def json(self):
        return json.loads(self.content)

    def __repr__(self):
        return f"{self.status} {self.content[:2000]!r}"


class Person:
    """Somebody at a browser: logs in with a form, then works with a token of the hub."""

    def __init__(self, pid, name):
        self.pid, self.name, self.token, self.cookies = pid, name, None, {}

    def ask(self, method, path, body=None, *, form=False, port=_PORT, token=None, timeout_s=120, **query):
        """Return the answer of the hub, or of a server behind it."""
        url = urllib.parse.quote(path)
        if query:
            url += "?" + urllib.parse.urlencode(query)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if token or self.token:
            headers = {"Authorization": f"token {token or self.token}"}
        if body is not None:
            kind = "application/x-www-form-urlencoded" if form else "application/json"
            headers["Content-Type"] = kind
            body = urllib.parse.urlencode(body) if form else json.dumps(body)
        connection = NamespaceConnection(self.pid, port, timeout_s)
        try:
            connection.request(method, url, body, headers)
            answer = connection.getresponse()
            for line in answer.headers.get_all("Set-Cookie", []):
                self.cookies |= {name: morsel.value for name, morsel in http.cookies.SimpleCookie(line).items()}
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def log_in(self, password):
        """Send the log-in form, and ask the hub for a token."""
        self.ask("GET", "/hub/login")
        fields = {"username": self.name, "password": password, "_xsrf": self.cookies["_xsrf"]}
        answer = self.ask("POST", "/hub/login", fields, form=True)
        assert answer.status == 302, answer
        self.ask("GET", "/hub/home")
        made = self.ask("POST", f"/hub/api/users/{self.name}/tokens", {}, _xsrf=self.cookies["_xsrf"])
        assert made.status in (200, 201), made
        self.token = made.json["token"]

    def start_server(self):
        """Ask the hub for the single-user server; `await_server` says when it is there."""
        answer = self.ask("POST", f"/hub/api/users/{self.name}/server")
        assert answer.status in (201, 202), answer

    def await_server(self, seconds=240):
        """Wait until the single-user server answers."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.mine("GET", "/api/status").status == 200:
                return
            time.sleep(0.3)
        raise TimeoutError(f"the server of {self.name} did not start")

    def mine(self, method, path, body=None, **more):
        """Ask one's own server."""
        return self.ask(method, f"/user/{self.name}{path}", body, **more)

    def read(self, path):
        """Return a file's content, through the contents API of one's server."""
        answer = self.mine("GET", f"/api/contents/{path}")
        assert answer.status == 200, answer
        return answer.json["content"]

    def write(self, path, content, kind="notebook"):
        """Save a file through the contents API of one's server."""
        form = {"type": kind, "format": "json" if kind == "notebook" else "text", "content": content}
        answer = self.mine("PUT", f"/api/contents/{path}", form)
        assert answer.status in (200, 201), answer

    def nbgrader(self, action, lab, course="yolotrt"):
        """Press a button of the Assignment List: "fetch", "submit" or "fetch_feedback"."""
        answer = self.mine("POST", f"/assignments/{action}", {"assignment_id": lab, "course_id": course})
        assert answer.status == 200, answer
        assert answer.json["success"], answer
        return answer.json["value"]


def await_hub(pid, alive, seconds=180):
    """Wait until the hub answers."""
    visitor, end = Person(pid, "visitor"), time.monotonic() + seconds
    while time.monotonic() < end and alive():
        try:
            if visitor.ask("GET", "/hub/api").status == 200:
                return
        except OSError:
            pass
        time.sleep(0.5)
    raise TimeoutError(f"the hub did not start (process {pid}, {os.getpid()})")
