from yolotrt_lab.runtimes.metadata import numbered_class_names


def test_numbered_names():
    assert numbered_class_names(2) == ("class 0", "class 1")
    assert numbered_class_names(0) == ()
