import io
import os
import struct
import threading
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from yolotrt_lab.data.images import (
    decode_image,
    image_size,
    list_images,
    read_image,
    read_image_bytes,
    write_image,
)
from yolotrt_lab.errors import InputError


def gradient(height=40, width=60):
    """A smooth BGR picture that is neither grey nor symmetric."""
    y, x = np.mgrid[0:height, 0:width]
    return np.dstack([x * 255 // (width - 1), y * 255 // (height - 1), np.full_like(x, 90)]).astype(np.uint8)


def saved(image: Image.Image, name: str, tmp_path, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


class TestReadImage:
    @pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.webp", "a.tif"])
    def test_lossless_formats_give_back_the_pixels(self, tmp_path, name):
        options = {"lossless": True} if name.endswith("webp") else {}
        path = saved(Image.fromarray(gradient()[..., ::-1]), name, tmp_path, **options)
        np.testing.assert_array_equal(read_image(path), gradient())

    @pytest.mark.parametrize("quality", [30, 95])
    def test_jpeg_equals_opencv(self, tmp_path, quality):
        path = saved(Image.fromarray(gradient()[..., ::-1]), "a.jpg", tmp_path, quality=quality)
        np.testing.assert_array_equal(read_image(path), cv2.imread(str(path), cv2.IMREAD_COLOR))

    def test_grey_is_repeated(self, tmp_path):
        grey = gradient()[..., 0]
        for name in ("a.png", "a.bmp"):
            path = saved(Image.fromarray(grey), name, tmp_path)
            np.testing.assert_array_equal(read_image(path), np.dstack([grey] * 3))

    def test_grey_jpeg_and_one_bit(self, tmp_path):
        path = saved(Image.fromarray(gradient()[..., 0]), "a.jpg", tmp_path)
        assert read_image(path).shape == (40, 60, 3)
        path = saved(Image.fromarray(gradient()[..., 0] > 128), "bit.png", tmp_path)
        assert set(np.unique(read_image(path))) == {0, 255}

    @pytest.mark.parametrize(("value", "expected"), [(0, 0), (255, 0), (256, 1), (0x8001, 0x80), (0xFFFF, 255)])
    def test_sixteen_bit_grey_keeps_the_upper_byte_as_opencv_does(self, tmp_path, value, expected):
        wide = np.full((8, 9), value, np.uint16)
        cv2.imwrite(str(tmp_path / "a.png"), wide)
        assert read_image(tmp_path / "a.png").tolist() == np.full((8, 9, 3), expected).tolist()
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), cv2.imread(str(tmp_path / "a.png")))

    def test_sixteen_bit_colour(self, tmp_path):
        wide = gradient().astype(np.uint16) << 8
        cv2.imwrite(str(tmp_path / "a.png"), wide)
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), gradient())

    @pytest.mark.parametrize("alpha", [0, 77, 255])
    def test_alpha_is_dropped_as_opencv_does(self, tmp_path, alpha):
        rgba = np.dstack([gradient()[..., ::-1], np.full((40, 60), alpha, np.uint8)])
        path = saved(Image.fromarray(rgba), "a.png", tmp_path)
        np.testing.assert_array_equal(read_image(path), gradient())
        np.testing.assert_array_equal(read_image(path), cv2.imread(str(path), cv2.IMREAD_COLOR))

    def test_grey_with_alpha(self, tmp_path):
        grey = gradient()[..., 1]
        path = saved(Image.fromarray(np.dstack([grey, grey // 2]), "LA"), "a.png", tmp_path)
        np.testing.assert_array_equal(read_image(path), np.dstack([grey] * 3))

    @pytest.mark.parametrize("transparency", [None, 0])
    def test_palette(self, tmp_path, transparency):
        image = Image.fromarray((np.arange(12, dtype=np.uint8) % 3).reshape(3, 4), "P")
        image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
        options = {} if transparency is None else {"transparency": transparency}
        path = saved(image, "a.png", tmp_path, **options)
        assert read_image(path)[0, :3].tolist() == [[0, 0, 255], [0, 255, 0], [255, 0, 0]]

    def test_animation_gives_its_first_frame(self, tmp_path):
        frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue")]
        path = saved(frames[0], "a.gif", tmp_path, save_all=True, append_images=frames[1:])
        assert read_image(path)[0, 0].tolist() == [0, 0, 255]

    def test_cmyk_jpeg(self, tmp_path):
        path = saved(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "a.jpg", tmp_path, quality=95)
        blue, green, red = read_image(path)[16, 16]
        assert red > 200
        assert max(blue, green) < 80

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("suffix", [".jpg", ".png"])
    def test_exif_rotation_is_applied(self, tmp_path, orientation, suffix):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = saved(Image.fromarray(gradient()[..., ::-1]), f"a{suffix}", tmp_path, exif=exif, quality=95)
        # What each value does to the picture, from the EXIF standard.
        turned = {
            1: gradient(),
            2: gradient()[:, ::-1],
            3: gradient()[::-1, ::-1],
            4: gradient()[::-1],
            5: gradient().transpose(1, 0, 2),
            6: np.rot90(gradient(), -1),
            7: gradient().transpose(1, 0, 2)[::-1, ::-1],
            8: np.rot90(gradient(), 1),
        }[orientation]
        result = read_image(path)
        assert result.shape == turned.shape
        assert np.abs(result.astype(int) - turned).mean() < 6
        assert image_size(path) == turned.shape[:2]

    def test_broken_exif_is_ignored(self, tmp_path):
        path = saved(Image.fromarray(gradient()), "a.png", tmp_path, exif=b"Exif\0\0garbage")
        assert read_image(path).shape == (40, 60, 3)
        assert image_size(path) == (40, 60)

    def test_a_name_that_is_not_utf8(self, tmp_path):
        raw = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
        try:
            with open(raw, "wb") as stream:
                Image.fromarray(gradient()[..., ::-1]).save(stream, "png")
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
        (path,) = list_images(tmp_path)
        np.testing.assert_array_equal(read_image(path), gradient())
        with open(raw, "wb"):
            pass
        with pytest.raises(InputError, match=r"caf\\xe9\.png is empty"):
            read_image(path)

    def test_the_result_is_contiguous_and_writable(self, tmp_path):
        for name in ("a.jpg", "a.png"):
            image = read_image(saved(Image.fromarray(gradient()), name, tmp_path))
            assert image.flags["C_CONTIGUOUS"]
            image[0, 0] = 0


class TestBadImages:
    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match=r"No such image: .*nope\.jpg"):
            read_image(tmp_path / "nope.jpg")

    def test_folder(self, tmp_path):
        with pytest.raises(InputError, match="is a folder"):
            read_image(tmp_path)

    def test_empty(self, tmp_path):
        (tmp_path / "a.jpg").write_bytes(b"")
        with pytest.raises(InputError, match="is empty") as error:
            read_image(tmp_path / "a.jpg")
        assert error.value.got == "0 bytes"
        with pytest.raises(InputError, match="is empty"):
            decode_image(b"")

    def test_a_nul_in_the_name(self):
        with pytest.raises(InputError, match="Cannot read"):
            read_image("a\0b.jpg")

    def test_a_pipe_is_refused_without_waiting(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.jpg")
        with pytest.raises(InputError, match="not a regular file"):
            read_image(tmp_path / "pipe.jpg")

    @pytest.mark.parametrize(
        "data",
        [b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", bytes(range(7, 255)) * 2],
        ids=["text", "PNG head", "JPEG head", "GIF head", "no head"],
    )
    def test_not_an_image(self, tmp_path, data):
        (tmp_path / "a.jpg").write_bytes(data)
        with pytest.raises(InputError) as error:
            read_image(tmp_path / "a.jpg")
        assert "not an image" in error.value.what or "damaged" in error.value.what
        assert error.value.fix

    @pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
    @pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.tif"])
    def test_cut_short(self, tmp_path, name, share):
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 255, (80, 80, 3), dtype=np.uint8)
        path = saved(Image.fromarray(noise), name, tmp_path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(InputError) as error:
            read_image(path)
        assert "cut short" in error.value.what or "not an image" in error.value.what

    @pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
    def test_a_cut_jpeg_is_not_left_to_opencv(self, tmp_path, share, monkeypatch):
        """OpenCV 4 fills the missing part with grey, OpenCV 5 gives None: neither may be asked."""
        noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)
        path = saved(Image.fromarray(noise), "a.jpg", tmp_path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        monkeypatch.setattr(cv2, "imdecode", lambda data, flags: np.full((80, 80, 3), 128, np.uint8))
        with pytest.raises(InputError, match=r"damaged or cut short|not an image"):
            read_image(path)

    def test_a_jpeg_cut_behind_its_thumbnail_is_noticed(self, tmp_path, monkeypatch):
        """The thumbnail ends like a whole JPEG, so looking for the end mark anywhere would be fooled."""
        thumbnail = io.BytesIO()
        Image.fromarray(gradient(16, 16)).save(thumbnail, "jpeg")
        segment = b"\xff\xed" + struct.pack(">H", len(thumbnail.getvalue()) + 2) + thumbnail.getvalue()
        noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)
        path = saved(Image.fromarray(noise), "a.jpg", tmp_path)
        data = path.read_bytes()
        data = data[:2] + segment + data[2:]
        path.write_bytes(data)
        assert read_image(path).shape == (80, 80, 3)
        path.write_bytes(data[: len(data) * 3 // 4])
        assert b"\xff\xd9" in path.read_bytes()
        monkeypatch.setattr(cv2, "imdecode", lambda data, flags: np.full((80, 80, 3), 128, np.uint8))
        with pytest.raises(InputError, match="damaged or cut short"):
            read_image(path)

    def test_a_whole_jpeg_with_padding_or_trailing_bytes_is_fine(self, tmp_path):
        path = saved(Image.fromarray(gradient()), "a.jpg", tmp_path)
        expected, data = read_image(path), path.read_bytes()
        for tail in (b"\0" * 100, b"trailing garbage"):
            path.write_bytes(data + tail)
            assert np.abs(read_image(path).astype(int) - expected).max() <= 2

    def test_a_bomb_is_refused_before_decoding(self, tmp_path):
        def chunk(kind: bytes, body: bytes) -> bytes:
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

        for side in (12_000, 60_000):
            header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
            data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
            (tmp_path / "a.png").write_bytes(data)
            for function in (read_image, image_size):
                with pytest.raises(InputError, match="too large") as error:
                    function(tmp_path / "a.png")
                assert error.value.expected == "at most 100 megapixels"

    def test_the_limit_can_be_set(self, tmp_path):
        path = saved(Image.fromarray(gradient()), "a.png", tmp_path)
        assert read_image(path, max_pixels=40 * 60).shape == (40, 60, 3)
        with pytest.raises(InputError, match="60 x 40"):
            read_image(path, max_pixels=40 * 60 - 1)

    def test_floating_point_is_refused(self, tmp_path):
        path = saved(Image.fromarray(np.ones((4, 4), np.float32)), "a.tif", tmp_path)
        with pytest.raises(InputError, match="floating-point"):
            read_image(path)

    def test_damaged_files_never_give_another_error(self, tmp_path):
        """Flip bytes at many places of several formats: a picture or an InputError, never anything else."""
        rng = np.random.default_rng(1)
        for name in ("a.jpg", "a.png", "a.gif", "a.tif", "a.webp", "a.bmp"):
            data = bytearray(saved(Image.fromarray(gradient()), name, tmp_path).read_bytes())
            for _ in range(40):
                broken = bytearray(data)
                for place in rng.integers(0, len(data), 6):
                    broken[place] = int(rng.integers(256))
                try:
                    image = decode_image(bytes(broken), max_pixels=1_000_000)
                except InputError:
                    continue
                assert image.dtype == np.uint8
                assert image.ndim == 3


class TestListImages:
    def test_sorted_by_name_without_others(self, tmp_path):
        for name in ("b.JPG", "a.png", "c.txt", ".hidden.png", "d.jpeg"):
            (tmp_path / name).write_bytes(b"x")
        (tmp_path / "folder.png").mkdir()
        (tmp_path / "folder.png" / "z.webp").write_bytes(b"x")
        assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG", "d.jpeg"]
        assert [path.name for path in list_images(tmp_path, recursive=True)][-1] == "z.webp"

    def test_empty(self, tmp_path):
        assert list_images(tmp_path) == ()

    def test_missing_or_a_file(self, tmp_path):
        with pytest.raises(InputError, match="nothing there"):
            list_images(tmp_path / "nope")
        (tmp_path / "file").write_bytes(b"x")
        with pytest.raises(InputError, match="a file"):
            list_images(tmp_path / "file")


class TestWriteImage:
    @pytest.mark.parametrize("name", ["a.png", "a.bmp", "sub/folder/a.png"])
    def test_round_trip(self, tmp_path, name):
        write_image(tmp_path / name, gradient())
        np.testing.assert_array_equal(read_image(tmp_path / name), gradient())

    def test_jpeg_quality_matters(self, tmp_path):
        write_image(tmp_path / "low.jpg", gradient(), jpeg_quality=20)
        write_image(tmp_path / "high.jpg", gradient(), jpeg_quality=98)
        assert (tmp_path / "low.jpg").stat().st_size < (tmp_path / "high.jpg").stat().st_size

    def test_nothing_on_stderr(self, tmp_path, capfd):
        write_image(tmp_path / "a.png", gradient())
        assert capfd.readouterr().err == ""

    @pytest.mark.parametrize(
        "image", [np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), np.zeros((2, 2, 2, 3), np.uint8)]
    )
    def test_not_an_image(self, tmp_path, image):
        with pytest.raises(InputError, match="not an image"):
            write_image(tmp_path / "a.png", image)

    @pytest.mark.parametrize("name", ["a", "a.xyz"])
    def test_unknown_suffix_leaves_nothing(self, tmp_path, name):
        with pytest.raises(InputError, match="unknown image format"):
            write_image(tmp_path / name, gradient())
        assert list(tmp_path.iterdir()) == []


def test_bytes_are_read_whole(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert read_image_bytes(tmp_path / "a") == b"abc"


def test_reading_from_threads(tmp_path):
    """The warning filter is process-wide: reading at once from several threads must still work."""
    path = saved(Image.fromarray(gradient()[..., ::-1]), "a.png", tmp_path)
    results = []
    threads = [threading.Thread(target=lambda: results.append(read_image(path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((result == gradient()).all() for result in results)
    assert len(results) == 4
