"""The kernel made to say that all is well: transformers, hooks, replaced parts of IPython and of its messages."""

from arena import DOUBLE, SCALE, SMALLEST, adversary

WRONG = {DOUBLE: "def double(x):\n    return 'wrong'", SMALLEST: "def smallest(values):\n    return -1, -1"}
ZERO = {**WRONG, DOUBLE: "def double(x):\n    return 0"}


@adversary(tries="an input transformer erases the tests", twin=WRONG)
def input_transformer(work):
    work.after(
        DOUBLE,
        """def erase(lines):
    text = "".join(lines)
    return ["4.0\\n"] if "check(" in text or "assert" in text or "_points" in text else lines

get_ipython().input_transformers_cleanup.append(erase)
get_ipython().input_transformers_post.append(erase)
""",
    )


@adversary(tries="an AST transformer takes the asserts out", twin=WRONG)
def ast_transformer(work):
    work.after(
        DOUBLE,
        """import ast

class Erase(ast.NodeTransformer):
    def visit_Assert(self, node): return ast.copy_location(ast.Pass(), node)
    def visit_Call(self, node):
        named = getattr(node.func, "id", "")
        return ast.copy_location(ast.Constant(6.0), node) if named == "check" else self.generic_visit(node)

get_ipython().ast_transformers.append(Erase())
""",
    )


@adversary(tries="the shell's run_cell does nothing and reports success", twin=WRONG, costs=[SMALLEST, SCALE])
def patched_shell(work):
    work.after(
        DOUBLE,
        """from IPython.core.interactiveshell import ExecutionResult, InteractiveShell

async def nothing(self, *_, **__):
    result = ExecutionResult(None)
    result.execution_count = 1
    return result

InteractiveShell.run_cell_async = nothing
InteractiveShell.run_cell = lambda self, *_, **__: ExecutionResult(None)
""",
    )


@adversary(tries="ipykernel's do_execute answers ok without executing", twin=WRONG, costs=[SMALLEST, SCALE])
def patched_do_execute(work):
    work.after(
        DOUBLE,
        """async def fine(*_, **__):
    return {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}

get_ipython().kernel.do_execute = fine
type(get_ipython().kernel).do_execute = fine
""",
    )


@adversary(tries="the display hook shows full marks for whatever a cell's value is", twin=WRONG)
def patched_displayhook(work):
    work.after(
        DOUBLE,
        """hook = type(get_ipython().displayhook)
hook.compute_format_data = lambda self, result: ({"text/plain": "4.0"}, {})
get_ipython().display_formatter.format = lambda *_, **__: ({"text/plain": "4.0"}, {})
""",
    )


@adversary(tries="errors are turned into full marks when they are sent", twin=WRONG)
def patched_session(work):
    work.after(
        DOUBLE,
        """session = get_ipython().kernel.session
send = type(session).send

def lie(self, stream, kind, content=None, *args, **kwargs):
    if kind == "error":
        kind, content = "execute_result", {"data": {"text/plain": "4.0"}, "metadata": {}, "execution_count": 1}
    if kind == "execute_reply" and isinstance(content, dict):
        content = {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}
    return send(self, stream, kind, content, *args, **kwargs)

type(session).send = lie
""",
    )


@adversary(tries="user expressions are answered with text of one's own", twin=WRONG, costs=[SMALLEST, SCALE])
def patched_user_expressions(work):
    work.after(
        DOUBLE,
        """fine = {"status": "ok", "data": {"text/plain": "'ok'"}, "metadata": {}}
shell = type(get_ipython())
shell.user_expressions = lambda self, names: {name: fine for name in names or {}}
shell.showtraceback = lambda *_, **__: None
get_ipython().set_custom_exc((BaseException,), lambda *_, **__: None)
""",
    )


@adversary(tries="hooks before and after each cell replace the answers' results", twin=WRONG)
def event_hooks(work):
    work.after(
        DOUBLE,
        """import builtins
seen = []

def before(info):
    seen.append(info.raw_cell)
    info.raw_cell = "6.0"
    get_ipython().user_ns["check"] = lambda name: 6.0

for event in ("pre_execute", "pre_run_cell", "post_execute", "post_run_cell"):
    get_ipython().events.register(event, before if event == "pre_run_cell" else lambda *_: None)
""",
    )


@adversary(tries="`check`, the package's recording and its import are replaced", twin=WRONG, costs=[SMALLEST, SCALE])
def replaced_recording(work):
    work.after(
        DOUBLE,
        """import sys
import yolotrt_lab.grading as grading
import yolotrt_lab.grading.notebook as notebook
import yolotrt_lab.grading.recording as recording

notebook.record = recording.record = lambda *_, **__: None
grading.check = notebook.check = check = lambda name: 6.0
for name in list(sys.modules):
    if name.startswith("yolotrt_lab.grading."):
        sys.modules[name] = type(sys)(name)
""",
    )


@adversary(
    tries="the module object of the suite is changed: other inputs, another way to call",
    twin=ZERO,
    costs=[SMALLEST, SCALE],
    flagged=["integrity: replaced"],
)
def replaced_suite(work):
    work.after(
        DOUBLE,
        """import sys
from yolotrt_lab.grading import suite

loaded = suite.load_exercise
def other(*args, **kwargs):
    found = loaded(*args, **kwargs)
    found.module.inputs = lambda case, rng: {"x": 0}
    found.module.run = lambda answer, **_: 0
    return found

suite.load_exercise = other
for name, module in list(sys.modules.items()):
    if getattr(module, "load_exercise", None) is loaded:
        module.load_exercise = other
    if name.startswith("yolotrt_suite_"):
        module.inputs, module.run = (lambda case, rng: {"x": 0}), (lambda answer, **_: 0)
""",
    )


@adversary(tries="the right answer is looked up in the caller's frames", twin=WRONG, flagged=["integrity: frames"])
def frames_of_the_caller(work):
    work.answer(
        DOUBLE,
        """import sys

def double(x):
    frame = sys._getframe(1)
    while frame is not None:
        for name in ("expected", "reference", "solution", "truth"):
            if name in frame.f_locals:
                return frame.f_locals[name]
        frame = frame.f_back
    return 'wrong'
""",
    )


@adversary(
    tries="the garbage collector finds the tests' functions and their answers", twin=WRONG, flagged=["integrity: heap"]
)
def tests_from_the_garbage_collector(work):
    work.answer(
        DOUBLE,
        """import gc

def double(x):
    for item in gc.get_objects():
        if getattr(item, "__name__", "") == "test_is_twice_the_number":
            return 2 * x
    return 'wrong'
""",
    )
