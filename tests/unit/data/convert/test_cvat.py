import pytest

from yolotrt_lab.data.convert import read_cvat
from yolotrt_lab.data.labels import ProblemKind
from yolotrt_lab.errors import InputError

META = """  <version>1.1</version>
  <meta><task><labels>
    <label><name>nut</name><attributes><attribute><name>size</name></attribute></attributes></label>
    <label><name>bolt</name></label>
  </labels></task></meta>
"""


def box(label="nut", edges=(10, 20, 30, 50), extra="", inner=""):
    xtl, ytl, xbr, ybr = edges
    return (
        f'    <box label="{label}" occluded="0" xtl="{xtl}" ytl="{ytl}" xbr="{xbr}" ybr="{ybr}" {extra}>{inner}</box>\n'
    )


@pytest.fixture
def convert(tmp_path, images):
    def run(*shapes, meta=META, name="a.png", size=(60, 80), **options):
        stated = f'name="{name}" width="{size[1]}" height="{size[0]}"'
        text = f'<?xml version="1.0"?>\n<annotations>\n{meta}  <image id="0" {stated}>\n'
        (tmp_path / "cvat.xml").write_text(text + "".join(shapes) + "  </image>\n</annotations>\n")
        return read_cvat(tmp_path / "cvat.xml", images=images, **options)

    return run


def test_boxes_with_attributes(convert, images):
    attribute = '<attribute name="size">M6</attribute>'
    conversion = convert(box(inner=attribute), box("bolt", (0, 0, 80, 59.5)))
    assert conversion.class_names == ("nut", "bolt")
    (image,) = conversion.images
    assert image.path == images / "a.png"
    assert image.class_ids.tolist() == [0, 1]
    assert image.xyxy.tolist() == [[10, 20, 30, 50], [0, 0, 80, 59.5]]
    assert conversion.problems == ()


def test_names_without_a_label_list(convert):
    assert convert(box("z"), box("a", (1, 1, 5, 5)), meta="").class_names == ("a", "z")


def test_given_names(convert):
    conversion = convert(box("bolt"), box("nut"), class_names=("bolt",))
    assert conversion.images[0].class_ids.tolist() == [0]
    assert [problem.kind for problem in conversion.problems] == [ProblemKind.CLASS_ID]


@pytest.mark.parametrize("extra", ['rotation="0.0"', 'rotation="360"'])
def test_not_really_rotated(convert, extra):
    assert convert(box(extra=extra)).problems == ()


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        (box(extra='rotation="30.5"'), ProblemKind.UNSUPPORTED_SHAPE),
        ('    <polygon label="nut" points="1,1;5,5;1,5"></polygon>\n', ProblemKind.UNSUPPORTED_SHAPE),
        ('    <polyline label="nut" points="1,1;5,5"></polyline>\n', ProblemKind.UNSUPPORTED_SHAPE),
        ('    <points label="nut" points="1,1"></points>\n', ProblemKind.UNSUPPORTED_SHAPE),
        ('    <mask label="nut" rle="1"></mask>\n', ProblemKind.UNSUPPORTED_SHAPE),
        ('    <ellipse label="nut"></ellipse>\n', ProblemKind.UNSUPPORTED_SHAPE),
        (box("cat"), ProblemKind.CLASS_ID),
        (box(edges=(10, 20, 10, 50)), ProblemKind.ZERO_SIZE),
        (box(edges=(30, 20, 10, 50)), ProblemKind.NEGATIVE_SIZE),
        (box(edges=(100, 20, 110, 50)), ProblemKind.OUT_OF_RANGE),
        (box(edges=("x", 20, 110, 50)), ProblemKind.MALFORMED),
        (box(edges=("nan", 20, 30, 50)), ProblemKind.NOT_FINITE),
        ('    <box label="nut" xtl="1"></box>\n', ProblemKind.MALFORMED),
        (box("bolt", (1, 2, 30, 40)), ProblemKind.DUPLICATE),
    ],
)
def test_problems(convert, tmp_path, shape, kind):
    conversion = convert(box("bolt", (1, 2, 30, 40)), shape)
    (problem,) = conversion.problems
    assert (problem.kind, problem.element) == (kind, "image 'a.png'")
    assert conversion.boxes == 1
    line = (tmp_path / "cvat.xml").read_text().splitlines()[problem.line - 1]
    assert line == shape.rstrip("\n")


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"name": "z.png"}, ProblemKind.MISSING_IMAGE),
        ({"name": "../cvat.xml"}, ProblemKind.MISSING_IMAGE),
        ({"size": (61, 80)}, ProblemKind.SIZE_MISMATCH),
    ],
)
def test_images(convert, arguments, kind):
    conversion = convert(box(), **arguments)
    assert [problem.kind for problem in conversion.problems] == [kind]
    assert conversion.images == ()


def test_a_size_that_is_not_stated_is_measured(convert):
    assert convert(box(), size=("", "")).images[0].image_hw == (60, 80)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotations>", "not usable XML"),
        ("", "is empty"),
        ("<dataset/>", "not a CVAT export for images"),
        ('<annotations><track id="0"/></annotations>', "not a CVAT export for images"),
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotations>&b;</annotations>', "not usable XML"),
    ],
)
def test_not_cvat(tmp_path, images, text, message):
    (tmp_path / "x.xml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_cvat(tmp_path / "x.xml", images=images)


def test_missing_files(tmp_path, images):
    with pytest.raises(InputError, match="No such file"):
        read_cvat(tmp_path / "x.xml", images=images)
    with pytest.raises(InputError, match="No such folder of images"):
        read_cvat(tmp_path / "x.xml", images=tmp_path / "nope")
