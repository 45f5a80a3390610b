"""Conversion of each pixel format to 8-bit RGB."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from clr.config import DatasetConfig
from clr.data import prepare
from clr.data.images import Images
from clr.data.pixels import Unreadable, to_rgb

U16 = np.array([[0, 128, 257, 32768, 65535]], np.uint16)
U16_GRAY = [0, 0, 1, 128, 255]  # rounded value · 255 / 65535
FLOAT = np.array([[0, 0.25, 0.5, 1]], np.float32)
FLOAT_GRAY = [0, 64, 128, 255]
UNSIGNED, SIGNED = 1, 2  # values of TIFF's tag SampleFormat
COLORS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 51], [255, 255, 255]]], np.uint8)


def reopened(image: Image.Image, kind: str, **options) -> Image.Image:
    """The image as Pillow reads it from a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(file)


def converted(image: Image.Image) -> list:
    """First row of the image in RGB."""
    rgb = to_rgb(image)
    assert rgb.mode == "RGB"
    return np.asarray(rgb)[0].tolist()


def tiff(data: bytes, bits: int, sample_format: int) -> io.BytesIO:
    """A grayscale TIFF of 2×1 pixels, in formats that Pillow reads and does not write."""
    tags = {256: 2, 257: 1, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: len(data)}
    tags[339] = sample_format
    directory = struct.pack("<H", len(tags))
    for tag, value in tags.items():
        directory += struct.pack("<HHII", tag, 4, 1, value)  # one value of type LONG
    header = b"II*\0" + struct.pack("<I", 8 + len(data))
    return io.BytesIO(header + data + directory + bytes(4))


def gray(values: list[int]) -> list[list[int]]:
    return [[value] * 3 for value in values]


@pytest.mark.parametrize("kind", ["PNG", "PPM", "TIFF", "JPEG2000"])
def test_16_bit_grayscale_is_scaled_from_its_full_range(kind):
    image = Image.fromarray(np.repeat(U16, 8, axis=0))  # JPEG 2000 needs several rows
    options = {"irreversible": False} if kind == "JPEG2000" else {}
    stored = reopened(image, kind, **options)
    assert stored.mode == ("I" if kind == "PPM" else "I;16")
    assert converted(stored) == gray(U16_GRAY)


def test_big_endian_16_bit_tiff_is_scaled():
    stored = reopened(Image.fromarray(U16.astype(">u2")), "TIFF")
    assert stored.mode == "I;16B"
    assert converted(stored) == gray(U16_GRAY)


def test_16_bit_tiff_whose_zero_is_white_is_inverted():
    stored = reopened(Image.fromarray(U16), "TIFF", tiffinfo={262: 0})
    assert stored.tag_v2[262] == 0
    assert converted(stored) == gray([255 - value for value in U16_GRAY])


def test_12_bit_tiff_is_scaled_from_12_bits():
    stored = Image.open(tiff(b"\x00\x0f\xff", bits=12, sample_format=UNSIGNED))
    assert stored.mode == "I;16"
    assert np.asarray(stored)[0].tolist() == [0, 4095]
    assert converted(stored) == gray([0, 255])


@pytest.mark.parametrize("kind", ["TIFF", "PPM"])
def test_float_grayscale_is_scaled_from_0_to_1(kind):
    stored = reopened(Image.fromarray(FLOAT), kind)
    assert stored.mode == "F"
    assert converted(stored) == gray(FLOAT_GRAY)


@pytest.mark.parametrize("values", [[0, 1.001], [-0.001, 1], [0, 255], [0, np.nan], [0, np.inf]])
def test_float_grayscale_outside_of_0_to_1_is_refused(values):
    stored = reopened(Image.fromarray(np.array([values], np.float32)), "TIFF")
    with pytest.raises(Unreadable, match=r"the value of white is unknown; scale them to \[0, 1\]"):
        to_rgb(stored)


@pytest.mark.parametrize(("bits", "sample_format"), [(16, SIGNED), (32, SIGNED), (32, UNSIGNED)])
def test_32_bit_and_signed_integers_are_refused(bits, sample_format):
    stored = Image.open(tiff(bytes(2 * bits // 8), bits, sample_format))
    assert stored.mode == "I"
    with pytest.raises(Unreadable, match="32-bit or signed integer pixels"):
        to_rgb(stored)


@pytest.mark.parametrize(
    ("bits", "stored_values", "values"),
    [(1, [0, 1], [0, 255]), (2, [0, 1, 3], [0, 85, 255]), (4, [0, 7, 15], [0, 119, 255])],
)
def test_grayscale_of_less_than_8_bits_is_scaled(bits, stored_values, values):
    text = f"P2 {len(values)} 1 {(1 << bits) - 1} {' '.join(map(str, stored_values))}"
    assert converted(Image.open(io.BytesIO(text.encode()))) == gray(values)


def test_bilevel_is_black_and_white():
    bilevel = Image.fromarray(np.array([[False, True]]))
    assert reopened(bilevel, "PNG").mode == "1"
    assert converted(reopened(bilevel, "PNG")) == gray([0, 255])
    assert converted(reopened(bilevel, "TIFF")) == gray([0, 255])


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "TIFF"), ("P", "PNG"), ("PA", "TIFF")])
def test_colors_of_other_modes_are_kept_exactly(mode, kind):
    image = Image.fromarray(COLORS)
    image = (image.convert("RGBA") if mode == "PA" else image).convert(mode)
    stored = reopened(image, kind)
    assert stored.mode == mode
    assert converted(stored) == COLORS[0].tolist()


@pytest.mark.parametrize(("mode", "tolerance"), [("YCbCr", 3), ("LAB", 16)])
def test_colors_of_lossy_modes_are_kept_approximately(mode, tolerance):
    stored = reopened(Image.fromarray(COLORS).convert(mode), "TIFF")
    assert stored.mode == mode
    assert abs(np.array(converted(stored)) - COLORS[0]).max() <= tolerance


def test_cmyk_jpeg_keeps_its_colors():
    image = Image.fromarray(np.repeat(np.repeat(COLORS, 16, axis=0), 16, axis=1))
    stored = reopened(image.convert("CMYK"), "JPEG", quality=95)
    assert stored.mode == "CMYK"
    assert abs(np.array(converted(stored))[8::16] - COLORS[0]).max() <= 3


def test_alpha_is_dropped():
    rgba = np.concatenate([COLORS, np.array([[[0], [1], [128], [255]]], np.uint8)], axis=2)
    assert converted(reopened(Image.fromarray(rgba), "PNG")) == COLORS[0].tolist()
    la = np.array([[[10, 0], [200, 255]]], np.uint8)
    assert converted(reopened(Image.fromarray(la), "PNG")) == gray([10, 200])


def test_transparent_colors_keep_their_color():
    palette = Image.fromarray(COLORS).convert("P")
    stored = reopened(palette, "PNG", transparency=palette.getpixel((0, 0)))
    assert "transparency" in stored.info
    assert converted(stored) == COLORS[0].tolist()


def test_16_bit_color_is_reduced_to_8_bits(tmp_path):
    # Pillow cannot write it; a PPM with a maximum of 65535 has two bytes per channel.
    content = b"P6 2 1 65535\n" + np.array([0, 32768, 65535, 257, 1, 65535], ">u2").tobytes()
    assert converted(Image.open(io.BytesIO(content))) == [[0, 128, 255], [1, 0, 255]]


def images(path, **keys) -> Images:
    dataset = DatasetConfig(name="x", source="folder", **keys)
    return Images([str(path)], np.zeros(1, np.int64), dataset)


def test_exif_rotation_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # rotated by 90°
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    assert Image.open(tmp_path / "x.png").getexif()[274] == 6
    assert (images(tmp_path / "x.png", resolution=4)[0] == pixels).all()


@pytest.mark.parametrize("kind", ["gif", "tiff", "png"])
def test_first_image_of_several_is_used(tmp_path, kind):
    frames = [Image.new("RGB", (4, 4), (value, 0, 0)) for value in (255, 0)]
    path = tmp_path / f"x.{kind}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert Image.open(path).n_frames == 2
    assert (images(path, resolution=4)[0] == [255, 0, 0]).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "the file is empty"), (b"text", "not an image in any format that Pillow reads")],
)
def test_file_that_is_not_an_image_is_refused_with_the_reason(tmp_path, content, reason):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(Unreadable, match=f"^{reason}$"):
        images(tmp_path / "x.png").read(0)


def test_refused_pixels_are_listed_and_scaled_ones_are_counted(config, data_folder, tmp_path):
    ants = data_folder / "train" / "ant"
    Image.fromarray(U16).save(ants / "deep.png")
    Image.fromarray(FLOAT).save(ants / "float.tif")
    Image.fromarray(FLOAT * 300).save(ants / "sensor.tif")
    info = prepare(config, str(tmp_path / "data"), "torch")
    assert info.num_train == 24 + 2
    assert info.skipped == 1
    assert info.converted == {"L": 1, "RGBA": 1, "I;16": 1, "F": 1}
    (line,) = (tmp_path / "data").glob("insects-*/skipped.txt")
    path, reason = line.read_text().rstrip("\n").split("\t")
    assert path == str(ants / "sensor.tif")
    assert reason.startswith("floating-point pixels from 0 to 300: the value of white is unknown")
