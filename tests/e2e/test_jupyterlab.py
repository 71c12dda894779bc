"""JupyterLab as people use it: a student works and hands in, an instructor grades, in the system's Chromium.

Set YOLOTRT_SCREENSHOTS to a folder to keep what the browser showed.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pytest

from yolotrt_lab.figures.verdicts import kept_boxes
from yolotrt_lab.grading.course.report.class_report import summarize
from yolotrt_lab.grading.course.report.page import render_class_report
from yolotrt_lab.grading.course.report.records import ClassRecords, Part, SubmissionRecord
from yolotrt_lab.grading.nbgrader.feedback_page import FeedbackPage, GradedPart, render_feedback
from yolotrt_lab.grading.results import ExerciseResult, Picture, State, TestResult
from yolotrt_lab.report.plots.style import figure_to_png

playwright = pytest.importorskip("playwright.sync_api")

ROOT = Path(__file__).parents[2]
LAB = "lab1_environment"
EXERCISE = "lab1.honest_benchmark"
TOKEN = "a-test"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("browser"),  # one server, one course, one test after the other
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A copy of the course, so that nobody's work is touched."""
    root = tmp_path_factory.mktemp("course")
    shutil.copy(ROOT / "nbgrader_config.py", root)
    for folder in ("solutions", "labs"):
        shutil.copytree(ROOT / folder / LAB, root / folder / LAB)
    shutil.copy(ROOT / "labs" / "nbgrader_config.py", root / "labs")
    shutil.copytree(ROOT / "course" / "jupyter", root / "course" / "jupyter")
    return root


@pytest.fixture(scope="module")
def environment(course):
    home = course.parent / f"{course.name}-home"
    home.mkdir()
    return {
        **os.environ,
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_CONFIG_PATH": str(course / "course" / "jupyter"),
        "YOLOTRT_WORKSPACE": str(home / "workspace"),
        "YOLOTRT_GRADING_SUITE": str(ROOT / "tests" / "grading"),
    }


@pytest.fixture(scope="module")
def server(course, environment):
    """JupyterLab as `make lab` starts it; yields its address."""
    for command in ("generate_assignment", "release_assignment"):
        nbgrader = [sys.executable, "-m", "nbgrader", command, LAB]
        subprocess.run(nbgrader, cwd=course, env=environment, check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    options = ["--no-browser", "--allow-root", f"--port={port}", f"--IdentityProvider.token={TOKEN}"]
    log = (course.parent / f"{course.name}.log").open("wb")
    with log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            cwd=course,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_for(address, process)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=60)
            end_kernels_of(environment)


def end_kernels_of(environment):
    """A kernel that was about to start when JupyterLab ended would live on."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if environment["JUPYTER_DATA_DIR"] in " ".join(process.cmdline()):
                process.kill()


def wait_for(address, process):
    for _ in range(240):
        assert process.poll() is None, "JupyterLab ended at its start"
        try:
            with urllib.request.urlopen(f"{address}/api"):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail("JupyterLab did not start")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def pictures(tmp_path):
    """The folder for screenshots."""
    folder = Path(os.environ.get("YOLOTRT_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def page(browser, request, pictures):
    """A page; what it showed last is kept, and what it wrote to its console is printed when the test fails."""
    page = browser.new_page(viewport={"width": 1500, "height": 1000})
    page.set_default_timeout(90_000)
    page.on("console", lambda message: print(message.type, message.text) if message.type == "error" else None)
    page.on("requestfailed", lambda asked: print("failed:", asked.method, asked.url, asked.failure))
    yield page
    page.screenshot(path=pictures / f"end-of-{request.node.name}.png")
    page.close()


@pytest.fixture
def screenshot(page, pictures):
    """Keep what the page shows under a name."""
    return lambda name: page.screenshot(path=pictures / f"{name}.png")


def open_notebook(page, server, path):
    page.goto(f"{server}/lab/tree/{path}?token={TOKEN}&reset")
    page.locator(".jp-Notebook").wait_for()
    wait_until_idle(page)


def wait_until_idle(page):
    """Wait until no cell runs or waits to run, and the kernel rests."""
    page.wait_for_timeout(500)
    running = page.locator(".jp-InputPrompt").filter(has_text="[*]")
    playwright.expect(running).to_have_count(0, timeout=400_000)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)


def menu(page, title, item):
    page.locator(".lm-MenuBar-itemLabel", has_text=title).click()
    page.locator(".lm-Menu-item").get_by_text(item, exact=True).click()


def cell_with(page, text):
    return page.locator(".jp-CodeCell", has=page.locator(".jp-InputArea", has_text=text)).first


def write(page, cell, source):
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(source)


def run_check(page, exercise):
    """Run the check cell and return what its table says."""
    cell = cell_with(page, f'check("{exercise}")')
    cell.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    wait_until_idle(page)
    return table_of(page, exercise).text_content()


def validate(page):
    """Press Validate, which saves and runs the notebook; return the dialog with the results."""
    page.locator(".jp-Toolbar").get_by_text("Validate", exact=True).click()
    dialog = page.locator(".jp-Dialog")
    dialog.wait_for(timeout=300_000)
    if "File Changed" in dialog.inner_text():
        # On a slow machine JupyterLab takes its own automatic save, a moment ago, for somebody else's.
        dialog.get_by_role("button", name="Overwrite").click()
    dialog.get_by_text("Validation Results").wait_for(timeout=300_000)
    return dialog


def table_of(page, exercise):
    """Return what a check cell shows, scrolled to where it can be seen."""
    cell = cell_with(page, f'check("{exercise}")')
    cell.evaluate("cell => cell.scrollIntoView({block: 'center'})")
    page.wait_for_timeout(300)
    return cell.locator(".jp-OutputArea")


def answer_of(course, exercise, folder="solutions"):
    import nbformat

    book = nbformat.read(course / folder / LAB / f"{LAB}.ipynb", as_version=4)
    grade_id = exercise.replace(".", "-", 1)
    return next(cell.source for cell in book.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def test_a_student_works_validates_and_hands_in(page, server, course, screenshot):
    open_notebook(page, server, f"labs/{LAB}/{LAB}.ipynb")
    screenshot("01-opened")
    menu(page, "Run", "Run All Cells")
    wait_until_idle(page)
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert "waiting for you" in table_of(page, EXERCISE).text_content()
    screenshot("02-run-all")

    release, solution = answer_of(course, EXERCISE, "labs"), answer_of(course, EXERCISE)
    answer = cell_with(page, release.splitlines()[0])
    stub = release[: release.index("raise NotImplementedError()")]
    write(page, answer, stub + "return 0.0")
    page.keyboard.press("Control+Enter")
    said = run_check(page, EXERCISE)
    assert "not there yet" in said
    assert "Expected" in said
    screenshot("03-check-fails")

    write(page, answer, solution)
    page.keyboard.press("Control+Enter")
    assert "solved" in run_check(page, EXERCISE)
    screenshot("04-check-passes")

    dialog = validate(page)
    assert f'check("{EXERCISE}")' not in dialog.inner_text()
    assert 'check("lab1.' in dialog.inner_text()
    screenshot("05-validated")
    dialog.get_by_role("button", name="Ok").click()

    menu(page, "Nbgrader", "Assignment List")
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("There are no submitted assignments.").wait_for(state="hidden")
    screenshot("06-submitted")
    assert len(list((course / "course" / "exchange" / "yolotrt" / "inbound").iterdir())) == 1


def test_an_instructor_collects_grades_and_returns_feedback(page, server, course, screenshot):
    page.goto(f"{server}/lab?token={TOKEN}&reset")
    page.locator(".lm-MenuBar-itemLabel", has_text="Nbgrader").wait_for()
    menu(page, "Nbgrader", "Formgrader")
    form = page.frame_locator("iframe")

    def press(place):
        form.locator(f"td.{place} a").first.click()
        box = form.locator(".modal-content").filter(has_text="Log Output").last
        box.wait_for(timeout=300_000)
        said = box.inner_text()
        assert "Success" in said, said[-3000:]
        box.get_by_role("button", name="OK").click()
        box.wait_for(state="hidden")
        return said

    said = press("collect")
    assert f"Collected {LAB} of" in said, said
    shown = form.locator("td.num-submissions a").get_by_text("1")
    with contextlib.suppress(playwright.TimeoutError):
        shown.wait_for(timeout=30_000)
    if not shown.is_visible():  # formgrader asks the server for the row once; on a busy machine in vain, now and then
        form.get_by_role("link", name="Manage Assignments").click()
    shown.wait_for()
    screenshot("07-collected")
    form.locator("td.num-submissions a").click()
    form.locator("td.autograde a").first.wait_for()
    press("autograde")
    form.get_by_text("graded", exact=False).first.wait_for()
    screenshot("08-graded")
    press("generate-feedback")
    (feedback,) = (course / "course" / "feedback").glob(f"*/{LAB}/*.html")

    page.goto(f"file://{feedback}")
    text = page.inner_text("body")
    assert "solved" in text
    assert "waiting for you" in text
    screenshot("09-feedback")
    page.screenshot(path=Path(os.environ.get("YOLOTRT_SCREENSHOTS", course)) / "10-feedback-whole.png", full_page=True)


def test_the_labs_are_readable_in_the_dark(page, server, course, screenshot):
    open_notebook(page, server, f"labs/{LAB}/{LAB}.ipynb")
    menu_theme(page, "JupyterLab Dark")
    page.locator("body[data-jp-theme-light='false']").wait_for(state="attached")
    cell_with(page, "from yolotrt_lab.grading import").locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    run_check(page, EXERCISE)
    table = table_of(page, EXERCISE)
    screenshot("11-dark")
    colour = table.locator("td").nth(1).evaluate("cell => getComputedStyle(cell).color")
    red, green, blue = (int(part) for part in colour.strip("rgba()").split(",")[:3])
    assert min(red, green, blue) > 120, colour
    menu_theme(page, "JupyterLab Light")


def menu_theme(page, name):
    page.locator(".lm-MenuBar-itemLabel", has_text="Settings").click()
    page.locator(".lm-Menu-item", has_text="Theme").first.hover()
    page.locator(".lm-Menu-item").get_by_text(name, exact=True).click()


def test_an_instructor_opens_a_script_as_a_notebook(page, server, course, screenshot):
    (course / "course" / "notebooks").mkdir()
    shutil.copy(ROOT / "course" / "notebooks" / f"{LAB}.py", course / "course" / "notebooks")
    page.goto(f"{server}/lab/tree/course/notebooks?token={TOKEN}&reset")
    page.locator(".jp-DirListing-item", has_text=f"{LAB}.py").click(button="right")
    page.locator(".lm-Menu-item", has_text="Open With").hover()
    page.locator(".lm-Menu-item").get_by_text("Jupytext Notebook", exact=True).click()
    page.locator(".jp-Notebook").wait_for()
    page.locator(".jp-MarkdownCell h1").first.wait_for()
    page.locator(".jp-CodeCell").nth(20).wait_for(state="attached")
    screenshot("12-script-as-notebook")


def feedback_and_report():
    """Return a feedback page with a picture and a class report, as HTML."""
    result = ExerciseResult(
        "lab5.nms",
        "Class-aware non-maximum suppression",
        State.FAILED,
        (TestResult("t", "Boxes of different classes leave each other alone", 2, False, "touching classes", False,
                    "10 of 39 boxes", "5 boxes: 0 too many, 5 missing", "A nut on a bolt is no second bolt."),),
        reading="https://docs.pytorch.org/vision/stable/generated/torchvision.ops.batched_nms.html",
        picture=Picture(figure_to_png(kept_boxes(np.eye(4) * 9, expected=[0, 1], seen=[1, 2])), "Boxes.", "Two boxes."),
    )  # fmt: skip
    code = "def nms(xyxy, scores, class_ids, iou_threshold):\n    return [index for index, _ in enumerate(scores)]"
    part = GradedPart("nms", result.title, 0.0, 2.0, result=result, code=(code,))
    records = ClassRecords(
        "lab5_inference_profiling",
        (Part("nms", result.title, 2.0, "lab5.nms", "def nms(): ...", 35),),
        tuple(
            SubmissionRecord(name, {"nms": 0.0}, results={"lab5.nms": result}, answers={"nms": code * 3})
            for name in ("ada", "ben", *(f"student-{number}" for number in range(10)))
        ),
    )
    report = render_class_report(summarize(records, similar=0.0))
    return {"feedback": render_feedback(FeedbackPage("Lab 5", "ada", [part], 0.0, 2.0)), "report": report}


@pytest.mark.parametrize("width", [390, 1200])
def test_feedback_and_report_load_nothing_and_fit(page, tmp_path, pictures, width):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: asked.append(message.text))
    page.set_viewport_size({"width": width, "height": 900})
    for name, text in feedback_and_report().items():
        (tmp_path / f"{name}.html").write_text(text)
        page.goto(f"file://{tmp_path}/{name}.html")
        page.screenshot(path=pictures / f"{name}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        assert page.locator("img").count() == (name == "feedback")
    assert [url for url in asked if not url.startswith(("data:", "file:///"))] == []
    assert len([url for url in asked if url.startswith("file:///")]) == 2
