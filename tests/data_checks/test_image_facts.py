"""One file's bytes, measured: every mode, every reason, and bytes meant to break the decoder."""

import bz2
import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import HTJ2KLossless

from data_checks.contract import FORMATS
from data_checks.copies.perceptual_hash import perceptual_hash
from data_checks.images.image_facts import ImageFacts, UnreadableImage, decode, measure
from data_checks.images.raster import FORMATS as RASTER
from data_checks.reasons import UNREADABLE
from tests.data_checks.dicom_files import data_set, dicom, with_stream

LIMIT = 1_000_000
RADIOGRAPHS = Path(__file__).resolve().parents[3] / "shared" / "radiographs"


def encode(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(height: int = 24, width: int = 20) -> np.ndarray:
    """A smooth gray picture with every level from 0 to 255, not symmetric in any way: (height, width) uint8."""
    rows, columns = np.mgrid[0:height, 0:width]
    field = rows * 3 + columns + 6 * np.sin(columns / 3)
    return np.rint((field - field.min()) * 255 / np.ptp(field)).astype(np.uint8)


GRAY = picture()
L = Image.fromarray(GRAY)


def reason(data: bytes) -> str | None:
    facts, gray = measure(data, max_pixels=LIMIT)
    assert (gray is None) == (facts.unreadable is not None)
    return facts.unreadable


def read(data: bytes) -> np.ndarray:
    return decode(data, max_pixels=LIMIT)


# ---- facts


def test_the_facts_of_a_gray_png_are_those_of_its_pixels():
    data = encode(L, "PNG")
    facts, gray = measure(data, max_pixels=LIMIT)
    assert gray is not None
    np.testing.assert_array_equal(gray, GRAY)
    assert facts == ImageFacts(
        sha256=hashlib.sha256(data).hexdigest(),
        format="PNG",
        width=20,
        height=24,
        mode="L",
        mean=pytest.approx(GRAY.mean()),
        contrast=pytest.approx(GRAY.std()),
        bits=8,
        black=pytest.approx((GRAY == 0).mean()),
        white=pytest.approx((GRAY == 255).mean()),
        border=facts.border,
        thumbnail=facts.thumbnail,
        phash=perceptual_hash(GRAY),
        patient=None,
        unreadable=None,
    )


def test_a_black_and_white_image_has_the_largest_contrast_and_is_all_black_or_white():
    half = np.repeat(np.array([[0, 255]], np.uint8), 10, axis=0)
    facts, _ = measure(encode(Image.fromarray(half), "PNG"), max_pixels=LIMIT)
    assert (facts.mean, facts.contrast, facts.black, facts.white) == (127.5, 127.5, 0.5, 0.5)


def facts_of(gray: np.ndarray) -> ImageFacts:
    return measure(encode(Image.fromarray(gray), "PNG"), max_pixels=LIMIT)[0]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32))
def test_the_border_is_the_mean_gray_of_edges_and_corners(height, width, seed):
    gray = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    rows, columns = max(1, round(height / 50)), max(1, round(width / 50))
    top, bottom, left, right = slice(rows), slice(-rows, None), slice(columns), slice(-columns, None)
    every = slice(None)
    parts = [(top, every), (every, right), (bottom, every), (every, left),
             (top, left), (top, right), (bottom, right), (bottom, left)]  # fmt: skip
    border = facts_of(gray).border
    assert border is not None
    np.testing.assert_allclose(list(border), [gray[part].mean() for part in parts], atol=0.5 + 1e-9)


def test_the_border_begins_at_the_top_and_goes_clockwise():
    gray = np.full((50, 100), 100, np.uint8)
    gray[0], gray[:, -2:], gray[-1], gray[:, :2] = 10, 20, 30, 40
    gray[0, :2], gray[0, -2:], gray[-1, -2:], gray[-1, :2] = 50, 60, 70, 80
    border = facts_of(gray).border
    assert border is not None
    assert list(border[4:]) == [50, 60, 70, 80]
    assert np.abs(np.array(list(border[:4])) - [10, 20, 30, 40]).max() <= 3


def test_the_thumbnail_is_the_picture_shrunk_row_by_row():
    blocks = np.random.default_rng(1).integers(0, 256, (8, 8), dtype=np.uint8)
    thumbnail = facts_of(blocks).thumbnail
    assert thumbnail is not None
    assert len(thumbnail) == 64
    for gray in (picture(600, 400), picture(100, 90)):
        thumbnail = facts_of(gray).thumbnail
        assert thumbnail is not None
        expected = np.asarray(Image.fromarray(gray).resize((8, 8), Image.Resampling.BOX))
        shown = np.frombuffer(thumbnail, np.uint8).reshape(8, 8)
        assert np.abs(shown.astype(int) - expected).max() <= 3


def test_the_facts_of_an_image_of_one_pixel_are_that_pixel():
    facts = facts_of(np.full((1, 1), 9, np.uint8))
    assert (facts.border, facts.thumbnail) == (bytes([9]) * 8, bytes([9]) * 64)


@pytest.mark.parametrize(
    ("image", "kind", "bits"),
    [
        (L, "PNG", 8),
        (L, "JPEG", 8),
        (L, "GIF", 8),
        (L, "TIFF", 8),
        (L, "BMP", 8),
        (L, "WEBP", 8),
        (L, "JPEG2000", 8),
        (L, "PPM", 8),
        (L.convert("1"), "PNG", 1),
        (L.convert("1"), "TIFF", 1),
        (L.convert("1"), "BMP", 1),
        (L.convert("1"), "PPM", 1),
        (L.convert("RGB"), "BMP", 8),
        (L.convert("RGB"), "TIFF", 8),
        (L.convert("RGB").quantize(16), "PNG", 4),
        (Image.fromarray(GRAY.astype(np.uint16)), "PNG", 16),
        (Image.fromarray(GRAY.astype(np.uint16)), "TIFF", 16),
        (Image.fromarray(GRAY.astype(np.uint16)), "JPEG2000", 16),
        (Image.fromarray(GRAY.astype(np.uint16)), "PPM", 16),
        (Image.fromarray(GRAY.astype(np.int32)), "TIFF", 32),
        (Image.fromarray(GRAY.astype(np.float32)), "TIFF", 32),
    ],
)
def test_the_bits_of_a_sample_are_those_stored(image, kind, bits):
    assert measure(encode(image, kind), max_pixels=LIMIT)[0].bits == bits


def test_decode_and_measure_give_the_same_pixels():
    data = encode(L.convert("RGB"), "JPEG")
    np.testing.assert_array_equal(read(data), measure(data, max_pixels=LIMIT)[1])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "JPEG2000", "PPM"])
def test_the_format_is_told_by_content(kind):
    facts, gray = measure(encode(L, kind), max_pixels=LIMIT)
    assert facts.format == kind
    assert gray is not None
    assert np.abs(gray.astype(int) - GRAY).mean() < 2


def test_threads_measure_the_same_as_one_thread():
    files = [
        encode(Image.fromarray(np.roll(GRAY, k, axis=1)), kind) for k in range(20) for kind in ("PNG", "JPEG")
    ]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda data: measure(data, max_pixels=LIMIT)[0], files))
    assert threaded == [measure(data, max_pixels=LIMIT)[0] for data in files]


# ---- modes


def test_three_equal_channels_give_exactly_that_channel():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rgb = Image.fromarray(np.stack([levels] * 3, axis=2))
    for kind in ("PNG", "BMP", "TIFF", "PPM"):
        np.testing.assert_array_equal(read(encode(rgb, kind)), levels)


def test_a_gray_picture_stored_as_colour_jpeg_is_read_as_the_luma_stored():
    data = encode(L.convert("RGB"), "JPEG", quality=80)
    colour = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(read(data), colour[:, :, 0])
    assert measure(data, max_pixels=LIMIT)[0].mode == "RGB"


def test_colour_becomes_luma():
    red = Image.new("RGB", (4, 3), (200, 0, 0))
    np.testing.assert_array_equal(read(encode(red, "PNG")), np.full((3, 4), 60))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_dropped(mode):
    image = L.convert(mode)
    image.putalpha(Image.fromarray(255 - GRAY))
    facts, gray = measure(encode(image, "PNG"), max_pixels=LIMIT)
    assert facts.mode == mode
    np.testing.assert_array_equal(gray, GRAY)


@pytest.mark.parametrize("transparency", [3, bytes(range(256))])
def test_a_palette_is_resolved_and_its_transparency_dropped(transparency):
    image = Image.fromarray(255 - GRAY, mode=None)
    image = image.copy()
    image.putpalette([255 - level for level in range(256) for _ in range(3)])
    facts, gray = measure(encode(image, "PNG", transparency=transparency), max_pixels=LIMIT)
    assert facts.mode == "P"
    np.testing.assert_array_equal(gray, GRAY)


def test_one_bit_becomes_0_and_255():
    bits = GRAY > 127
    facts, gray = measure(encode(Image.fromarray(bits), "PNG"), max_pixels=LIMIT)
    assert facts.mode == "1"
    np.testing.assert_array_equal(gray, bits * np.uint8(255))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_print_and_television_colours_are_read(mode):
    image = L.convert("RGB").convert(mode) if mode != "LAB" else Image.merge("LAB", [L, L, L])
    facts, gray = measure(encode(image, "TIFF"), max_pixels=LIMIT)
    assert facts.mode == mode
    assert gray is not None
    assert np.abs(gray.astype(int) - GRAY).max() <= 1


def test_a_cmyk_jpeg_is_read():
    facts, gray = measure(encode(L.convert("CMYK"), "JPEG", quality=95), max_pixels=LIMIT)
    assert facts.mode == "CMYK"
    assert gray is not None
    assert np.abs(gray.astype(int) - GRAY).mean() < 3


def big_endian_tiff(values: np.ndarray) -> bytes:
    """A minimal uncompressed TIFF of 16 bits, most significant byte first."""
    height, width = values.shape
    entries = [(256, width), (257, height), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, height)]
    pixels = values.astype(">u2").tobytes()
    entries.append((279, len(pixels)))
    directory = struct.pack(">H", len(entries))
    for tag, value in sorted(entries):
        directory += struct.pack(">HHII", tag, 4, 1, value)
    return b"MM\0*" + struct.pack(">I", 8 + len(pixels)) + pixels + directory + bytes(4)


def wide() -> np.ndarray:
    return 1000 + GRAY.astype(np.uint16) * 16


@pytest.mark.parametrize(
    "mode", ["I;16 PNG", "I;16 TIFF", "I;16B TIFF", "I;16 JPEG2000", "I TIFF", "F TIFF", "I PPM"]
)
def test_more_than_8_bits_are_stretched_from_minimum_to_maximum(mode):
    mode, kind = mode.split()
    if mode == "I;16B":
        data = big_endian_tiff(wide())
    elif mode == "F":
        data = encode(Image.fromarray(wide().astype(np.float32)), kind)
    elif mode == "I" and kind == "TIFF":
        data = encode(Image.fromarray(wide().astype(np.int32) - 9000), kind)
    else:
        data = encode(Image.fromarray(wide()), kind)
    facts, gray = measure(data, max_pixels=LIMIT)
    assert facts.mode == mode
    np.testing.assert_array_equal(gray, GRAY)


def test_a_constant_wide_image_is_black():
    np.testing.assert_array_equal(
        read(encode(Image.fromarray(np.full((5, 4), 777, np.uint16)), "PNG")), np.zeros((5, 4))
    )


def test_nan_and_infinity_are_the_ends_of_the_scale():
    values = np.array([[1.0, 2.0, 3.0, np.nan, np.inf, -np.inf]], np.float32)
    np.testing.assert_array_equal(read(encode(Image.fromarray(values), "TIFF")), [[0, 128, 255, 0, 255, 0]])


def test_nothing_but_nan_is_black():
    assert not read(encode(Image.fromarray(np.full((3, 3), np.nan, np.float32)), "TIFF")).any()


def test_a_wide_tiff_whose_zero_is_white_is_inverted():
    data = encode(Image.fromarray(wide()), "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(read(data), 255 - GRAY)


def test_16_bit_colour_keeps_its_high_bytes():
    rows = b"".join(b"\0" + b"".join(struct.pack(">3H", *[int(v) * 257] * 3) for v in row) for row in GRAY)
    facts, gray = measure(png(20, 24, depth=16, colour=2, idat=zlib.compress(rows)), max_pixels=LIMIT)
    assert (facts.mode, facts.bits) == ("RGB", 16)
    np.testing.assert_array_equal(gray, GRAY)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation, kind):
    stored = {
        1: GRAY,
        2: GRAY[:, ::-1],
        3: GRAY[::-1, ::-1],
        4: GRAY[::-1],
        5: GRAY.T,
        6: np.rot90(GRAY),
        7: GRAY[::-1, ::-1].T,
        8: np.rot90(GRAY, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    facts, gray = measure(
        encode(Image.fromarray(stored.copy()), kind, exif=exif, **options), max_pixels=LIMIT
    )
    np.testing.assert_array_equal(gray, GRAY)
    assert (facts.width, facts.height) == (20, 24)


def test_broken_exif_does_not_make_a_jpeg_unreadable():
    data = encode(L, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert reason(data) is None


# ---- reasons


def png(width: int, height: int, *, depth: int = 8, colour: int = 0, idat: bytes = b"") -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", idat) + chunk(b"IEND", b"")


def frames(kind: str, count: int = 2) -> bytes:
    images = [Image.fromarray(np.roll(GRAY, 5 * k, axis=0)) for k in range(count)]
    return encode(images[0], kind, save_all=True, append_images=images[1:])


def random_gray() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8))


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"


def archive(kind: str) -> bytes:
    """Return an archive that holds a sound image; it is never opened."""
    image, buffer = encode(L, "PNG"), io.BytesIO()
    if kind.endswith("zip"):
        with zipfile.ZipFile(buffer, "w") as file:
            if kind == "zip":
                file.writestr("knee.png", image)
    elif kind == "tar":
        with tarfile.open(fileobj=buffer, mode="w") as file:
            file.addfile(tarfile.TarInfo("knee.png"), io.BytesIO(b""))
    else:
        return {"gz": gzip, "bz2": bz2, "xz": lzma}[kind].compress(image)
    return buffer.getvalue()


CASES = {
    "empty_file": [b""],
    "git_lfs_pointer": [LFS],
    "no_pixels": [bytes(128) + b"DICM\x08\0\x60\0CS\x02\0CR"],
    "unsupported_compression": [
        with_stream(data_set(GRAY), HTJ2KLossless, bytes(99)),
    ],
    "unsupported_mode": [dicom(GRAY, PhotometricInterpretation="HSV")],
    "archive": [archive(kind) for kind in ("zip", "empty zip", "gz", "bz2", "xz", "tar")]
    + [b"7z\xbc\xaf\x27\x1c" + bytes(50), b"Rar!\x1a\x07\x01\0" + bytes(50), b"\x28\xb5\x2f\xfd" + bytes(50)],
    "not_an_image": [
        b"hello",
        b"BM is how this text begins, and it is long enough",
        b"<html>404</html>",
        b"%!PS-Adobe-3.0 EPSF",
    ],
    "truncated": [
        encode(random_gray(), "JPEG")[:9000],
        encode(random_gray(), "PNG")[:9000],
        encode(L, "JPEG")[:100],
    ],
    "corrupt": [
        png(20, 24, idat=b"no zlib stream"),
        encode(L, "PNG")[:16] + bytes(100),
        b"GIF89a" + b"\xff" * 40,
    ],
    "too_large": [png(50_000, 50_000), png(1001, 1000), b"P5 4000 4000 255\n"],
    "several_frames": [frames("GIF"), frames("TIFF"), frames("PNG"), frames("WEBP")],
}


@pytest.mark.parametrize(("code", "data"), [(code, data) for code, many in CASES.items() for data in many])
def test_an_unreadable_file_gets_its_reason(code, data):
    facts, gray = measure(data, max_pixels=LIMIT)
    assert gray is None
    assert facts.unreadable == code
    assert facts.sha256 == hashlib.sha256(data).hexdigest()
    assert facts.mean is facts.contrast is facts.black is facts.white is facts.phash is None
    assert facts.border is facts.thumbnail is None
    with pytest.raises(UnreadableImage) as caught:
        read(data)
    assert caught.value.reason == code
    assert UNREADABLE[code] in str(caught.value)


def test_every_reason_but_one_has_a_case_here_and_says_what_to_do():
    # sidecar: such files are never read, see test_listing.
    assert set(UNREADABLE) - set(CASES) == {"sidecar"}
    for text in UNREADABLE.values():
        assert text.count(": ") == 1
        assert text.endswith(".")


def test_a_too_large_image_still_tells_what_its_header_says():
    facts, _ = measure(png(50_000, 40_000), max_pixels=LIMIT)
    assert (facts.format, facts.width, facts.height, facts.mode) == ("PNG", 50_000, 40_000, "L")


def test_a_side_that_no_column_holds_is_left_out():
    data = bytearray(big_endian_tiff(wide()))
    place = data.index(struct.pack(">HHI", 256, 4, 1)) + 8
    data[place : place + 4] = b"\xff\xff\xff\xff"
    facts, _ = measure(bytes(data), max_pixels=LIMIT)
    assert (facts.unreadable, facts.width, facts.height) == ("too_large", None, 24)


def test_every_format_that_is_read_stands_in_the_contract():
    assert set(FORMATS) == {*RASTER, "DICOM"}


def test_an_image_of_exactly_the_limit_is_read():
    data = encode(L, "PNG")
    assert measure(data, max_pixels=GRAY.size)[0].unreadable is None
    assert measure(data, max_pixels=GRAY.size - 1)[0].unreadable == "too_large"


def test_a_gif_of_one_frame_named_jpg_is_a_gif(tmp_path):
    path = tmp_path / "knee.jpg"
    path.write_bytes(encode(L, "GIF"))
    facts, gray = measure(path.read_bytes(), max_pixels=LIMIT)
    assert (facts.format, facts.unreadable) == ("GIF", None)
    np.testing.assert_array_equal(gray, GRAY)


# ---- hostile bytes


def seeds() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb = Image.fromarray(np.stack([GRAY, GRAY[::-1], GRAY], axis=2))
    values = Image.fromarray(wide())
    made = [
        encode(image, kind)
        for image in (L, rgb)
        for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
    ]
    made += [
        encode(rgb, "JPEG2000"),
        encode(L, "JPEG2000", no_jp2=True),
        encode(rgb, "JPEG", progressive=True),
    ]
    # Not LZW or deflate: on those libtiff itself writes to the terminal, which no Python code can stop.
    made += [
        encode(values, "PNG"),
        encode(values, "TIFF"),
        encode(rgb.convert("CMYK"), "JPEG"),
        big_endian_tiff(wide()),
    ]
    made += [encode(L, kind, exif=exif) for kind in ("PNG", "JPEG", "TIFF", "WEBP")]
    made += [encode(Image.fromarray(wide().astype(np.float32)), "TIFF"), encode(rgb.quantize(16), "PNG"), LFS]
    return made + [frames(kind) for kind in ("GIF", "TIFF", "PNG", "WEBP")] + [b"P2\n3 2\n255\n1 2 3 4 5 6\n"]


SEEDS = seeds()
EDGES = st.sampled_from(
    [b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0"]
)


@st.composite
def mutated(draw) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        # Headers are where a change does most: half of the places lie in the first 100 bytes.
        place = draw(st.one_of(st.integers(0, min(100, len(data))), st.integers(0, len(data))))
        patch = draw(st.one_of(EDGES, st.binary(max_size=6)))
        match draw(st.sampled_from(["replace", "insert", "delete", "cut"])):
            case "replace":
                data[place : place + len(patch)] = patch
            case "insert":
                data[place:place] = patch
            case "delete":
                del data[place : place + len(patch)]
            case "cut":
                del data[max(place, 12) :]
    return bytes(data)


def check_is_measured_quietly(data: bytes) -> None:
    # A test that turned warnings into errors would only see them as "corrupt": they are recorded instead.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        facts, gray = measure(data, max_pixels=LIMIT)
    assert not caught, [str(w.message) for w in caught]
    if facts.unreadable is None:
        assert gray is not None
        assert gray.dtype == np.uint8
        assert gray.shape == (facts.height, facts.width)
        assert gray.flags.c_contiguous
    else:
        assert gray is None
        assert facts.unreadable in UNREADABLE


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_mutated_images_never_raise_and_never_warn(data):
    check_is_measured_quietly(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([seed[:16] for seed in SEEDS]))
def test_noise_behind_a_true_signature_never_raises_and_never_warns(noise, signature):
    check_is_measured_quietly(signature + noise)


def test_signalling_nan_is_read_without_a_warning():
    data = encode(Image.fromarray(np.arange(6, dtype=np.float32).reshape(2, 3) + 1000), "TIFF")
    place = data.index(np.float32(1002).tobytes())
    check_is_measured_quietly(data[:place] + struct.pack("<I", 0x7F800001) + data[place + 4 :])


@pytest.mark.parametrize("size", [(12_000, 10_000), (50_000, 50_000)])
def test_pillows_own_size_limit_neither_warns_nor_leaks(size):
    check_is_measured_quietly(png(*size))
    assert reason(png(*size)) == "too_large"


@pytest.mark.skipif(not RADIOGRAPHS.is_dir(), reason="../shared/radiographs is not here")
def test_real_radiographs_are_read_or_get_their_known_reason():
    files = [path for path in sorted(RADIOGRAPHS.rglob("*"))[::20] if path.is_file()]
    reasons = {measure(path.read_bytes(), max_pixels=LIMIT)[0].unreadable for path in files}
    assert None in reasons
    assert reasons <= {None, "empty_file", "truncated", "not_an_image"}
