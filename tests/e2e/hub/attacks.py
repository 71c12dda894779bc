"""What a student tries from a notebook on her own server; writes what came of each attempt to a file.

Run with the paths and names it may know: more than a student could find out.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

_LISTENING = "0A"


def attempts(known):
    """Return what is tried, by name: functions that succeed where something is not protected."""
    return with_files(known) | between_processes(known) | over_the_network(known)


def with_files(known):
    course, exchange, home = (Path(known[name]) for name in ("course", "exchange", "home"))
    submission, lab = exchange / "inbound" / known["submission"], known["lab"]
    return {
        "list the submissions": lambda: os.listdir(exchange / "inbound"),
        "read a submission": lambda: (submission / f"{lab}.ipynb").read_bytes(),
        "read a submission's secret": lambda: (submission / "submission_secret.txt").read_bytes(),
        "write into a submission": lambda: (submission / "more.txt").write_text("more"),
        "overwrite a submission": lambda: (submission / f"{lab}.ipynb").open("r+b").close(),
        "move a submission away": lambda: move(submission),
        "open a submission to all": lambda: submission.chmod(0o777),
        "list a home": lambda: os.listdir(home),
        "read a notebook": lambda: (home / lab / f"{lab}.ipynb").read_bytes(),
        "list a home's copies of submissions": lambda: os.listdir(home / ".local/share/jupyter/nbgrader_cache"),
        "list the course": lambda: os.listdir(course),
        "read the gradebook": lambda: (course / "course" / "gradebook.db").read_bytes(),
        "list the records of grading": lambda: os.listdir(course / "course" / "grading"),
        "read the hidden seed": lambda: (course / "course" / "grading" / "hidden_seed").read_bytes(),
        "read the solution": lambda: (course / "solutions" / lab / f"{lab}.ipynb").read_bytes(),
        "read what was collected": lambda: os.listdir(course / "course" / "submitted" / known["victim"]),
        "list the feedback": lambda: os.listdir(exchange / "feedback"),
        "put a page among the feedback": lambda: (exchange / "feedback" / "mine.html").write_text("mine"),
        "overwrite the lab": lambda: (exchange / "outbound" / lab / f"{lab}.ipynb").open("r+b").close(),
        "move the lab away": lambda: move(exchange / "outbound" / lab),
        "release a lab": lambda: (exchange / "outbound" / "mine").mkdir(),
        "move the course away": lambda: move(exchange),
        "change the suite": lambda: next(Path(known["suite"]).glob("*/test_*.py")).open("r+b").close(),
        "change nbgrader's configuration": lambda: Path("/etc/jupyter/nbgrader_config.py").open("r+b").close(),
        "list the hub's files": lambda: os.listdir(known["state"]),
    }


def between_processes(known):
    servers = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if owner(pid) == known["victim_uid"]]
    return {
        "see that others work": lambda: [][len(servers)] if not servers else None,
        "read a server's environment": lambda: [Path(f"/proc/{pid}/environ").read_bytes() for pid in servers],
        "read a server's memory": lambda: [Path(f"/proc/{pid}/mem").open("rb").close() for pid in servers],
        "list a server's files": lambda: [os.listdir(f"/proc/{pid}/fd") for pid in servers],
        "signal a server": lambda: [os.kill(pid, signal.SIGCONT) for pid in servers],
        "talk to a kernel": lambda: [connect(name) for name in sockets(known["home"])],
        "listen to a kernel": lambda: listen(known["victim_uid"]),
    }


def over_the_network(known):
    hub, victim, token = "http://127.0.0.1:8000", known["victim"], os.environ.get("JUPYTERHUB_API_TOKEN", "")

    def ask(method, url, body=None, timeout_s=20):
        headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(url, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            if "/login" in answer.url or "/oauth2/" in answer.url:
                raise PermissionError("sent to the log-in page")

    def through_the_port():
        for port in ports(known["victim_uid"]):
            with contextlib.suppress(http.client.BadStatusLine, TimeoutError):  # a kernel's, which speaks no HTTP
                return ask("GET", f"http://127.0.0.1:{port}/user/{victim}/api/contents/", timeout_s=2)
        raise RuntimeError("no server found")

    return {
        "use another's server": lambda: ask("GET", f"{hub}/user/{victim}/api/contents/"),
        "use another's server at its port": through_the_port,
        "run something on another's server": lambda: ask("POST", f"{hub}/user/{victim}/api/kernels", b"{}"),
        "list the hub's users": lambda: ask("GET", f"{hub}/hub/api/users"),
        "get another's token": lambda: ask("POST", f"{hub}/hub/api/users/{victim}/tokens", b"{}"),
        "stop another's server": lambda: ask("DELETE", f"{hub}/hub/api/users/{victim}/server"),
        "become an administrator": lambda: ask("PATCH", f"{hub}/hub/api/users/{known['me']}", b'{"admin": true}'),
        "see the proxy's routes": lambda: ask("GET", "http://127.0.0.1:8001/api/routes"),
        "steal the proxy's route": lambda: ask(
            "POST", f"http://127.0.0.1:8001/api/routes/user/{victim}", b'{"target": "http://127.0.0.1:9"}'
        ),
    }


def move(path):
    """Move a folder to another name and back."""
    other = path.with_name(f"{path.name}.moved")
    path.rename(other)
    other.rename(path)


def owner(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}").stat().st_uid
    return None


def ports(uid):
    """Return the ports that an account's programs listen at."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return sorted(int(row[1].split(":")[1], 16) for row in rows if row[3] == _LISTENING and int(row[7]) == uid)


def listen(uid):
    """Listen to what somebody's kernels run and print, at the ports that they may have."""
    import zmq
    from zmq.utils.monitor import recv_monitor_message

    for port in ports(uid):
        listener = zmq.Context.instance().socket(zmq.SUB)
        monitor = listener.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        listener.subscribe(b"")
        listener.connect(f"tcp://127.0.0.1:{port}")
        if monitor.poll(1_000):
            return recv_monitor_message(monitor)
    raise PermissionError("nothing publishes")


def sockets(home):
    """Return the sockets in somebody's home that the machine tells everybody about."""
    names = [line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()[1:] if " /" in line]
    found = [name for name in names if name.startswith(home)]
    if not found:
        raise FileNotFoundError("no kernel with sockets in its home")  # then the attempt shows nothing
    return found


def connect(name):
    with socket.socket(socket.AF_UNIX) as other:
        other.settimeout(5)
        other.connect(name)


def outcome(attempt):
    """Return "denied: …", or what else happened."""
    try:
        attempt()
    except PermissionError as error:
        return f"denied: {error}"
    except urllib.error.HTTPError as error:
        return f"{'denied' if error.code in (401, 403, 404) else 'odd'}: {error}"
    except Exception as error:
        return f"odd: {type(error).__name__}: {error}"
    return "it worked"


def main(tried, results):
    Path(results).write_text(json.dumps({name: outcome(attempt) for name, attempt in tried.items()}))
