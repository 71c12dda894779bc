import json

from yolotrt_lab.profiling import machine


def test_the_description_is_json_and_names_what_matters():
    found = machine.machine_description()
    json.dumps(found)
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0
    assert found["processor"]
    assert "numpy" in found["versions"]


def test_packages_that_are_not_there_are_left_out(monkeypatch):
    monkeypatch.setattr(machine, "package_version", lambda name: "1.0" if name == "numpy" else None)
    assert machine.machine_description()["versions"] == {"numpy": "1.0"}


def test_a_system_without_proc(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise FileNotFoundError

    monkeypatch.setattr(machine.Path, "read_text", refuse)
    assert machine.cpu_name()
