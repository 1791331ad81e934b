"""DICOM: every layout and compression gives the pixels of its export, and no bytes break, block or soil the program."""

import hashlib
import io
import subprocess
import sys
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    RLELossless,
)

from data_checks.images.codestream import _children
from data_checks.images.image_facts import UnreadableImage, decode, measure
from data_checks.reasons import UNREADABLE
from tests.data_checks.dicom_files import (
    BY_GDCM,
    LOSSLESS,
    bare,
    data_set,
    dicom,
    jpeg,
    with_stream,
    written,
)

LIMIT = 1_000_000
ROWS, COLUMNS = np.mgrid[0:24, 0:20]
#: 12 bits, every row and column different, from 7 to 3,607.
WIDE = (ROWS * 113 + COLUMNS * 53 + (ROWS * COLUMNS) % 7 * 2 + 7).astype(np.uint16)
GRAY = (WIDE >> 4).astype(np.uint8)
SIGNED = WIDE.astype(np.int16) - 1024
COLOUR = np.stack([GRAY, GRAY[::-1], 255 - GRAY], axis=2)


def read(data: bytes) -> np.ndarray:
    gray = decode(data, max_pixels=LIMIT)
    assert gray.dtype == np.uint8
    assert gray.flags.c_contiguous
    return gray


def reason(data: bytes, *, max_pixels: int = LIMIT) -> str | None:
    return measure(data, max_pixels=max_pixels)[0].unreadable


def png(values: np.ndarray) -> np.ndarray:
    """Return what the decoder reads from a PNG of the values."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return decode(buffer.getvalue(), max_pixels=LIMIT)


def window(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """Draw by PS3.3 C.11.2.1.2.1, pixel by pixel as it is written there, with 0 and 255 as the ends."""
    result = np.empty(values.shape)
    for place, x in np.ndenumerate(values):
        if x <= center - 0.5 - (width - 1) / 2:
            result[place] = 0
        elif x > center - 0.5 + (width - 1) / 2:
            result[place] = 255
        else:
            result[place] = ((x - (center - 0.5)) / (width - 1) + 0.5) * 255
    return result


def assert_within_one_level(gray: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(gray.astype(float) - expected).max() <= 1


def table(first: int, entries: np.ndarray, bits: int, kind: str = "OW") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 65536, first, bits])
    data = entries.astype("<u2").tobytes() if kind == "OW" else [int(entry) for entry in entries]
    item.add_new("LUTData", kind, data)
    return item


# ---- a DICOM file and its export agree


@pytest.mark.parametrize("how", LOSSLESS)
def test_12_bits_are_those_of_the_16_bit_png_whatever_the_compression(how):
    facts, gray = measure(dicom(WIDE, how=how, bits=12), max_pixels=LIMIT)
    assert (facts.format, facts.width, facts.height, facts.mode) == ("DICOM", 20, 24, "MONOCHROME2")
    assert facts.bits == (16 if how == "JPEG 2000" and facts.bits == 16 else 12)
    np.testing.assert_array_equal(gray, png(WIDE))


@pytest.mark.parametrize("how", LOSSLESS)
def test_8_bits_are_those_of_the_8_bit_png_whatever_the_compression(how):
    facts, gray = measure(dicom(GRAY, how=how), max_pixels=LIMIT)
    assert facts.bits == 8
    np.testing.assert_array_equal(gray, GRAY)


@pytest.mark.parametrize("how", [how for how in LOSSLESS if how != "JPEG 2000"])
@pytest.mark.parametrize("bits", [13, 16])
def test_signed_values_keep_their_sign_whatever_the_compression(how, bits):
    np.testing.assert_array_equal(read(dicom(SIGNED, how=how, bits=bits)), png(WIDE))


@pytest.mark.parametrize("how", LOSSLESS)
def test_colour_is_the_luma_of_the_png_whatever_the_compression(how):
    np.testing.assert_array_equal(read(dicom(COLOUR, how=how)), png(COLOUR))


def test_jpeg_is_read_as_the_luma_stored():
    for values in (GRAY, COLOUR):
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, "JPEG", quality=95)
        expected = decode(buffer.getvalue(), max_pixels=LIMIT)
        np.testing.assert_array_equal(read(jpeg(values)), expected)


def test_a_windowed_picture_is_that_of_its_8_bit_export():
    export = np.rint(window(WIDE, 1700, 2000)).astype(np.uint8)
    assert_within_one_level(read(dicom(WIDE, bits=12, WindowCenter=1700, WindowWidth=2000)), png(export))


@given(st.integers(-500, 4500), st.integers(1, 5000))
@settings(max_examples=40, deadline=None)
def test_every_linear_window_is_drawn_as_the_standard_writes(center, width):
    gray = read(dicom(WIDE, bits=12, WindowCenter=center, WindowWidth=width))
    assert_within_one_level(gray, window(WIDE, center, width))


def test_without_preamble_and_file_meta_the_picture_is_the_same():
    data = data_set(WIDE, bits=12)
    data.add_new("PixelData", "OW", WIDE.tobytes())
    for implicit in (True, False):
        np.testing.assert_array_equal(read(bare(data, implicit=implicit)), png(WIDE))
    whole = dicom(WIDE, bits=12)
    np.testing.assert_array_equal(read(whole[132:]), png(WIDE))


def test_the_content_tells_not_a_preamble_that_begins_as_another_format():
    whole = dicom(GRAY)
    np.testing.assert_array_equal(read(b"II*\0" + whole[4:]), GRAY)


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_stored_one_after_the_other_are_the_same_picture(planar):
    data = data_set(COLOUR, PlanarConfiguration=planar)
    pixels = COLOUR.transpose(2, 0, 1) if planar else COLOUR
    data.add_new("PixelData", "OB", pixels.tobytes())
    np.testing.assert_array_equal(read(written(data, ExplicitVRLittleEndian)), png(COLOUR))


def test_luma_and_colour_differences_give_their_luma():
    np.testing.assert_array_equal(read(dicom(COLOUR, PhotometricInterpretation="YBR_FULL")), COLOUR[:, :, 0])
    data = data_set(COLOUR, PhotometricInterpretation="YBR_FULL_422")
    halves = np.stack([GRAY[:, ::2], GRAY[:, 1::2], GRAY[:, ::2], GRAY[:, ::2]], axis=2)
    data.add_new("PixelData", "OB", halves.tobytes())
    np.testing.assert_array_equal(read(written(data, ExplicitVRLittleEndian)), GRAY)


def test_16_bit_colour_keeps_its_high_bytes():
    np.testing.assert_array_equal(read(dicom(COLOUR.astype(np.uint16) << 8 | 77)), png(COLOUR))
    np.testing.assert_array_equal(read(dicom(COLOUR.astype(np.uint16) << 4, bits=12)), png(COLOUR))


def test_a_palette_is_resolved():
    entries = {"Red": np.arange(256)[::-1], "Green": np.arange(256) // 2, "Blue": np.arange(256) ** 2 // 255}
    palette = {}
    for colour, levels in entries.items():
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        palette[f"{colour}PaletteColorLookupTableData"] = (levels * 257).astype("<u2").tobytes()
    colours = np.stack([levels[GRAY] for levels in entries.values()], axis=2).astype(np.uint8)
    facts, gray = measure(dicom(GRAY, PhotometricInterpretation="PALETTE COLOR", **palette), max_pixels=LIMIT)
    assert facts.mode == "PALETTE COLOR"
    np.testing.assert_array_equal(gray, png(colours))


def test_one_bit_becomes_0_and_255():
    data = data_set(GRAY, BitsAllocated=1, BitsStored=1, HighBit=0)
    data.add_new("PixelData", "OB", np.packbits(GRAY > 127, bitorder="little").tobytes())
    np.testing.assert_array_equal(read(written(data, ExplicitVRLittleEndian)), (GRAY > 127) * 255)


@pytest.mark.parametrize("bits", [6, 7])
def test_fewer_than_8_bits_fill_the_scale(bits):
    values = GRAY >> (8 - bits)
    np.testing.assert_array_equal(read(dicom(values, bits=bits)), np.rint(values * (255 / ((1 << bits) - 1))))


def test_32_bits_are_stretched_as_a_tiff_is():
    values = WIDE.astype(np.uint32) * 100_000
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.int32)).save(buffer, "TIFF")
    np.testing.assert_array_equal(read(dicom(values)), read(buffer.getvalue()))


def test_what_stands_beside_the_stored_bits_does_not_count():
    np.testing.assert_array_equal(read(dicom(WIDE | 0xA000, bits=12)), png(WIDE))
    np.testing.assert_array_equal(read(dicom(WIDE << 4 | 9, bits=12, HighBit=15)), png(WIDE))


# ---- how stored values are drawn


def test_monochrome1_is_inverted_after_the_window():
    drawn = read(dicom(WIDE, bits=12, WindowCenter=900, WindowWidth=800))
    inverted = read(
        dicom(WIDE, bits=12, WindowCenter=900, WindowWidth=800, PhotometricInterpretation="MONOCHROME1")
    )
    np.testing.assert_array_equal(inverted, 255 - drawn)
    facts, gray = measure(dicom(GRAY, PhotometricInterpretation="MONOCHROME1"), max_pixels=LIMIT)
    assert facts.mode == "MONOCHROME1"
    np.testing.assert_array_equal(gray, 255 - GRAY)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_presentation_that_asks_to_invert_inverts_once(photometric):
    data = dicom(GRAY, PhotometricInterpretation=photometric, PresentationLUTShape="INVERSE")
    np.testing.assert_array_equal(read(data), 255 - GRAY)
    data = dicom(GRAY, PresentationLUTShape="IDENTITY")
    np.testing.assert_array_equal(read(data), GRAY)


def test_rescaling_comes_before_the_window():
    data = dicom(
        WIDE, bits=12, RescaleSlope="0.5", RescaleIntercept="-1024", WindowCenter=-200, WindowWidth=700
    )
    assert_within_one_level(read(data), window(WIDE * 0.5 - 1024, -200, 700))


@pytest.mark.parametrize(("slope", "expected"), [("0.1", WIDE), ("-0.1", 4000 - WIDE)])
def test_rescaling_without_a_window_changes_nothing_but_the_direction(slope, expected):
    data = dicom(WIDE, bits=12, RescaleSlope=slope, RescaleIntercept="-77.7")
    np.testing.assert_array_equal(read(data), png(expected.astype(np.uint16)))


def test_the_first_of_several_windows_is_used():
    data = dicom(WIDE, bits=12, WindowCenter=[1000, 5], WindowWidth=[500, 9])
    assert_within_one_level(read(data), window(WIDE, 1000, 500))


def test_exact_and_sigmoid_windows_follow_their_formulas():
    common = {"bits": 12, "WindowCenter": 1500, "WindowWidth": 1000}
    exact = read(dicom(WIDE, VOILUTFunction="LINEAR_EXACT", **common))
    assert_within_one_level(exact, np.clip(((WIDE - 1500.0) / 1000 + 0.5) * 255, 0, 255))
    sigmoid = read(dicom(WIDE, VOILUTFunction="SIGMOID", **common))
    assert_within_one_level(sigmoid, 255 / (1 + np.exp(-4 * (WIDE - 1500.0) / 1000)))


@pytest.mark.parametrize(
    "without", [{"WindowCenter": 5}, {"WindowWidth": 5}, {"WindowCenter": 5, "WindowWidth": 0},
                {"WindowCenter": None, "WindowWidth": None}, {"WindowCenter": 9, "WindowWidth": -20}]
)  # fmt: skip
def test_a_window_that_means_nothing_counts_as_none(without):
    np.testing.assert_array_equal(read(dicom(WIDE, bits=12, **without)), png(WIDE))


@pytest.mark.parametrize("kind", ["OW", "US"])
def test_a_voi_table_is_looked_up_and_goes_before_the_window(kind):
    entries = (np.arange(1000) ** 2 // 245).astype(np.int64)
    data = dicom(
        WIDE,
        bits=12,
        VOILUTSequence=Sequence([table(500, entries, 12, kind)]),
        WindowCenter=1,
        WindowWidth=1,
    )
    expected = entries[np.clip(WIDE.astype(int) - 500, 0, 999)] * (255 / 4095)
    assert_within_one_level(read(data), expected)


def test_a_modality_table_comes_before_the_window_and_is_stretched_without_one():
    entries = 65535 - np.arange(4096) * 16
    sequence = Sequence([table(0, entries, 16)])
    values = entries[WIDE]
    drawn = read(dicom(WIDE, bits=12, ModalityLUTSequence=sequence, WindowCenter=30000, WindowWidth=20000))
    assert_within_one_level(drawn, window(values, 30000, 20000))
    np.testing.assert_array_equal(
        read(dicom(WIDE, bits=12, ModalityLUTSequence=sequence)), png(values.astype(np.uint16))
    )


@pytest.mark.parametrize("how", ["explicit", "implicit"])
def test_tables_of_signed_pixels_begin_below_zero(how):
    entries = np.arange(4096)
    data = dicom(SIGNED, how=how, VOILUTSequence=Sequence([table(-1024, entries, 12)]))
    assert_within_one_level(read(data), WIDE * (255 / 4095))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("limit", [None, 3990])
def test_padding_is_left_out_of_the_scale_and_drawn_black(photometric, limit):
    values = WIDE.copy()
    values[:5] = 4000
    values[:, :3] = 4000 if limit is None else 3995
    more = {} if limit is None else {"PixelPaddingRangeLimit": limit}
    gray = read(dicom(values, bits=12, PhotometricInterpretation=photometric, PixelPaddingValue=4000, **more))
    inside = png(values[5:, 3:])
    np.testing.assert_array_equal(gray[5:, 3:], 255 - inside if photometric == "MONOCHROME1" else inside)
    assert not gray[:5].any()
    assert not gray[:, :3].any()


def test_padding_of_signed_pixels_is_found_in_either_sign():
    values = SIGNED.copy()
    values[:5] = -2000
    for kind, padding in (("SS", -2000), ("US", 65536 - 2000)):
        data = data_set(values)
        data.add_new("PixelPaddingValue", kind, padding)
        data.add_new("PixelData", "OW", values.tobytes())
        gray = read(written(data, ExplicitVRLittleEndian))
        np.testing.assert_array_equal(gray[5:], png(WIDE[5:]))
        assert not gray[:5].any()


def test_a_picture_of_nothing_but_padding_or_one_value_is_black():
    flat = np.full((5, 4), 3000, np.uint16)
    assert not read(dicom(flat, bits=12, PixelPaddingValue=3000)).any()
    assert not read(dicom(flat, bits=12)).any()


# ---- the patient


def test_the_patient_is_a_digest_of_issuer_and_number():
    expected = hashlib.sha256(b"hospital|4711").hexdigest()[:16]
    data = dicom(GRAY, PatientID="4711", IssuerOfPatientID="hospital", PatientName="Doe^Jane")
    facts, _ = measure(data, max_pixels=LIMIT)
    assert facts.patient == expected
    assert not {"4711", "hospital", "Doe"} & set(str(facts))
    padded = dicom(GRAY, how="implicit", PatientID="4711 ", IssuerOfPatientID="hospital")
    assert measure(padded, max_pixels=LIMIT)[0].patient == expected


@pytest.mark.parametrize("number", [None, "", "  "])
def test_no_number_is_no_patient(number):
    data = dicom(GRAY, IssuerOfPatientID="hospital", **({} if number is None else {"PatientID": number}))
    assert measure(data, max_pixels=LIMIT)[0].patient is None


def test_other_numbers_and_other_issuers_are_other_patients():
    files = [dicom(GRAY, PatientID=n, IssuerOfPatientID=i) for n in "12" for i in ("", "a", "b")]
    assert len({measure(file, max_pixels=LIMIT)[0].patient for file in files}) == 6


# ---- what is refused


def test_several_frames_are_refused():
    frames = np.concatenate([GRAY, GRAY])
    data = data_set(GRAY, NumberOfFrames=2, PatientID="1")
    data.add_new("PixelData", "OB", frames.tobytes())
    facts, gray = measure(written(data, ExplicitVRLittleEndian), max_pixels=LIMIT)
    assert gray is None
    assert facts.unreadable == "several_frames"
    assert (facts.format, facts.width, facts.height, facts.mode, facts.bits) == (
        "DICOM", 20, 24, "MONOCHROME2", 8)  # fmt: skip
    assert facts.patient is not None
    data.NumberOfFrames = 1
    assert reason(written(data, ExplicitVRLittleEndian)) is None


def test_a_file_without_pixels_says_so():
    report = Dataset()
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    report.SOPInstanceUID = "1.2.3"
    report.PatientID = "1"
    facts, _ = measure(written(report, ExplicitVRLittleEndian), max_pixels=LIMIT)
    assert (facts.unreadable, facts.format, facts.width) == ("no_pixels", "DICOM", None)
    assert facts.patient is not None
    empty = data_set(GRAY)
    empty.add_new("PixelData", "OB", b"")
    assert reason(written(empty, ExplicitVRLittleEndian)) == "no_pixels"


@pytest.mark.parametrize("syntax", [HTJ2KLossless, MPEG2MPML])
def test_a_compression_that_nobody_here_decodes_says_so(syntax):
    assert reason(with_stream(data_set(GRAY), syntax, b"\xff\xd8" + bytes(98))) == "unsupported_compression"


def test_compressed_pixels_without_a_transfer_syntax_say_so():
    data = data_set(GRAY)
    data.add_new("PixelData", "OB", encapsulate([bytes(100)]))
    data["PixelData"].is_undefined_length = True
    assert reason(bare(data, implicit=False)) == "unsupported_compression"


@pytest.mark.parametrize("how", LOSSLESS)
def test_too_many_pixels_are_refused_before_any_is_decoded(how):
    data = dicom(GRAY, how=how)
    assert reason(data, max_pixels=GRAY.size) is None
    assert reason(data, max_pixels=GRAY.size - 1) == "too_large"


def test_a_huge_claim_is_refused_though_there_are_no_such_pixels():
    facts, _ = measure(dicom(GRAY, Rows=65535, Columns=65535), max_pixels=LIMIT)
    assert (facts.unreadable, facts.width, facts.height) == ("too_large", 65535, 65535)


def test_deflated_elements_that_never_end_are_not_inflated():
    meta_end = dicom(GRAY, how="deflated")
    place = meta_end.index(DeflatedExplicitVRLittleEndian.encode()) + len(DeflatedExplicitVRLittleEndian)
    place += len(DeflatedExplicitVRLittleEndian) % 2
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(deflater.compress(bytes(1 << 20)) for _ in range(200)) + deflater.flush()
    head = meta_end[: meta_end.index(b"\x08\x00") if b"\x08\x00" in meta_end[place:place] else place]
    began = time.perf_counter()
    assert reason(head + bomb) == "too_large"
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("how", LOSSLESS)
def test_a_file_that_ends_early_is_truncated_wherever_it_ends(how):
    whole = dicom(WIDE, how=how, bits=12)
    reasons = {reason(whole[:end]) for end in range(200, len(whole) - 8, 37)}
    # Between two elements a file may end: nothing tells that more should come.
    assert reasons <= {"truncated", "no_pixels"}
    assert "truncated" in reasons


def test_run_lengths_and_streams_of_another_size_are_corrupt():
    for how in LOSSLESS[4:]:
        data = dicom(GRAY, how=how)
        place = data.index(b"\x28\0\x10\0US\x02\0") + 8
        assert reason(data[:place] + b"\x19\0" + data[place + 2 :]) == "corrupt"
    assert reason(with_stream(data_set(GRAY), RLELossless, bytes(64))) == "corrupt"
    # 2 bytes of run length give 128: what is more than the picture is not unpacked.
    bomb = b"\x01\0\0\0\x40\0\0\0" + bytes(56) + b"\x81\x55" * 500_000
    assert reason(with_stream(data_set(GRAY), RLELossless, bomb)) in (None, "corrupt")


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"Rows": 0}, "corrupt"),
        ({"SamplesPerPixel": 4}, "unsupported_mode"),
        ({"SamplesPerPixel": 3}, "unsupported_mode"),
        ({"BitsAllocated": 12}, "unsupported_mode"),
        ({"BitsAllocated": 64, "BitsStored": 64}, "unsupported_mode"),
        ({"BitsStored": 9}, "corrupt"),
        ({"HighBit": 3}, "corrupt"),
        ({"PhotometricInterpretation": "HSV"}, "unsupported_mode"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "unsupported_mode"),
        ({"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}, "truncated"),
    ],
)
def test_a_header_that_makes_no_sense_has_its_reason(elements, expected):
    assert reason(dicom(GRAY, **elements)) == expected


def test_an_unreadable_dicom_says_what_to_do():
    with pytest.raises(UnreadableImage) as caught:
        read(dicom(GRAY, NumberOfFrames=3))
    assert str(caught.value) == f"several_frames: DICOM with 3 frames. {UNREADABLE['several_frames']}"


def test_a_number_of_a_wrong_length_is_corrupt():
    data = dicom(GRAY)
    place = data.index(b"\x28\0\x10\0US\x02\0") + 6
    assert reason(data[:place] + b"\x03\0\x18\0\0" + data[place + 4 :]) == "corrupt"


# ---- hostile bytes


def nested(depth: int) -> bytes:
    item = b"\xfe\xff\0\xe0\xff\xff\xff\xff"
    return bytes(128) + b"DICM" + (b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" + item) * depth


def endless(count: int) -> bytes:
    """Elements that each begin with no end in sight, so that a reader starts again behind every one."""
    item = b"\xfe\xff\0\xe0\xff\xff\xff\xff"
    return (
        bytes(128)
        + b"DICM\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff"
        + (item + b"\x09\0\x10\x10OB\0\0\xff\xff\xff\xff") * count
    )


@pytest.mark.parametrize(
    "data",
    [nested(10), nested(100_000), endless(100_000), bytes(128) + b"DICM" + b"\x09\0\x10\x10UN\0\0\0\0\0\0" * 800_000],
    ids=["nested", "nested deeply", "without end", "many"],
)  # fmt: skip
def test_elements_that_take_a_reader_in_circles_are_given_up_soon(data):
    began = time.perf_counter()
    assert reason(data) in ("corrupt", "truncated", "no_pixels")
    assert time.perf_counter() - began < 10


#: Bytes of a JPEG Lossless stream that make GDCM end its process: the number of samples in the frame header.
def deadly() -> bytes:
    data = bytearray(dicom(WIDE, how="JPEG Lossless", bits=12, SamplesPerPixel=1))
    frame = data.index(b"\xff\xc3")
    scan = data.index(b"\xff\xda")
    data[frame + 11] = 0x81  # sampling factors
    data[scan + 5] = 0xFF  # a component that is not there
    return bytes(data)


def test_a_stream_that_kills_the_decoder_is_corrupt_and_the_next_one_is_read():
    for data in (deadly(), dicom(WIDE, how="JPEG-LS", bits=12).replace(b"\xff\xda", b"\xff\xff")):
        assert reason(data) == "corrupt"
        assert reason(dicom(WIDE, how="JPEG Lossless", bits=12)) is None


def test_a_decoder_that_was_killed_meanwhile_is_replaced():
    import os

    data = dicom(WIDE, how="JPEG Lossless", bits=12)
    assert reason(data) is None
    child = _children(os.getpid()).take()
    child.kill()
    child.wait()
    _children(os.getpid()).give_back(child)
    assert reason(data) == "corrupt"
    assert reason(data) is None


SEEDS = [
    *[dicom(values, how=how, bits=bits) for how in LOSSLESS for values, bits in ((WIDE, 12), (COLOUR, 8))],
    jpeg(GRAY),
    jpeg(COLOUR),
    dicom(SIGNED, WindowCenter=[5, 6], WindowWidth=[100, 50], RescaleSlope="2", RescaleIntercept="-5"),
    dicom(WIDE, how="implicit", bits=12, PixelPaddingValue=5, PixelPaddingRangeLimit=7, PatientID="x"),
    dicom(WIDE, bits=12, VOILUTSequence=Sequence([table(5, np.arange(500), 12)])),
    dicom(WIDE, bits=12, ModalityLUTSequence=Sequence([table(5, np.arange(500), 12)])),
    dicom(WIDE, bits=12)[132:],
    dicom(
        GRAY,
        PhotometricInterpretation="PALETTE COLOR",
        **{f"{c}PaletteColorLookupTableDescriptor": [4, 0, 8] for c in ("Red", "Green", "Blue")},
        **{f"{c}PaletteColorLookupTableData": b"\0\x40\x80\xff" for c in ("Red", "Green", "Blue")},
    ),
]
EDGES = st.sampled_from(
    [b"\0", b"\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x80", b"SQ", b"UN", b"nan"]
)


@st.composite
def mutated(draw) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(100, len(data)))
        patch = draw(st.one_of(EDGES, st.binary(max_size=6)))
        match draw(st.sampled_from(["replace", "replace", "insert", "delete", "cut"])):
            case "replace":
                data[place : place + len(patch)] = patch
            case "insert":
                data[place:place] = patch
            case "delete":
                del data[place : place + len(patch)]
            case "cut":
                del data[max(place, 140) :]
    return bytes(data)


def check_is_measured_quietly(data: bytes) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        facts, gray = measure(data, max_pixels=LIMIT)
    assert not caught, [str(w.message) for w in caught]
    if gray is None:
        assert facts.unreadable in UNREADABLE
    else:
        assert gray.dtype == np.uint8
        assert gray.shape == (facts.height, facts.width)
        assert gray.flags.c_contiguous


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_mutated_files_never_raise_and_never_warn(data):
    check_is_measured_quietly(data)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200), st.sampled_from([bytes(128) + b"DICM", b"\x08\0\x05\0CS", b"\x02\0\0\0UL\x04\0"])
)
def test_noise_behind_a_true_signature_never_raises_and_never_warns(noise, signature):
    check_is_measured_quietly(signature + noise)


# ---- threads, silence, and the time of an import


def test_eight_threads_read_the_same_as_one():
    files = [
        dicom(np.roll(WIDE, turn, axis=1), how=how, bits=12, WindowCenter=1500, WindowWidth=2000)
        for turn in range(8)
        for how in (*BY_GDCM, "explicit", "run lengths", "JPEG 2000")
    ]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(lambda data: measure(data, max_pixels=LIMIT)[0], files))
    assert threaded == [measure(data, max_pixels=LIMIT)[0] for data in files]
    assert not any(facts.unreadable for facts in threaded)


SILENT = """
import logging, sys, warnings
logging.basicConfig(level=logging.DEBUG)
warnings.simplefilter("always")
from pathlib import Path
from data_checks.images.image_facts import measure
assert not {"pydicom", "gdcm"} & set(sys.modules), "imported before a DICOM file was met"
for path in sorted(Path(sys.argv[1]).iterdir()):
    facts, _ = measure(path.read_bytes(), max_pixels=1_000_000)
    if not path.name.startswith("odd"):
        assert (facts.unreadable is None) == path.name.startswith("good"), (path, facts)
"""


def test_nothing_is_printed_logged_or_imported_early(tmp_path):
    lossless = dicom(WIDE, how="JPEG Lossless", bits=12)
    place = lossless.index(b"\xff\xda") + 40
    bad = [deadly(), dicom(WIDE, bits=12, Rows=30), dicom(GRAY, how="JPEG-LS")[:-60],
           dicom(GRAY, how="JPEG 2000").replace(b"\xff\x52", b"\xff\x99"), dicom(GRAY, NumberOfFrames=2)]  # fmt: skip
    # Damage among the codes alone is not seen by a decoder, but it may speak of it.
    odd = [lossless[:place] + bytes(200) + lossless[place + 200 :]]
    good = [lossless, dicom(GRAY, WindowCenter=[1, 2], WindowWidth=[50, 60])]
    for kind, files in (("bad", bad), ("odd", odd), ("good", good)):
        for number, data in enumerate(files):
            (tmp_path / f"{kind}{number}.dcm").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", SILENT, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr


def test_the_decoders_end_with_the_program():
    psutil = pytest.importorskip("psutil")
    code = (
        "import sys, os; from pathlib import Path; from data_checks.images.image_facts import decode\n"
        "from data_checks.images.codestream import _children\n"
        "decode(sys.stdin.buffer.read(), max_pixels=10**6)\n"
        "print(_children(os.getpid()).take().pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=dicom(WIDE, how="JPEG Lossless", bits=12),
        capture_output=True,
        check=False,
    )
    assert done.returncode == -9
    child = int(done.stdout)
    for _ in range(100):
        if not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    pytest.fail("the decoder lives on without its program")


# ---- files that others wrote


def test_the_files_that_pydicom_brings_are_read_as_pydicom_reads_them():
    from pydicom import dcmread
    from pydicom.data import get_testdata_file

    names = ("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm",
             "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_expb.dcm", "CT_small.dcm")  # fmt: skip
    for name in names:
        path = get_testdata_file(name, download=False)
        assert isinstance(path, str)
        with open(path, "rb") as file:
            gray = read(file.read())
        data = dcmread(path)
        assert isinstance(data, FileDataset)
        values = data.pixel_array.astype(np.int64)
        if "WindowCenter" in data:
            expected = window(values, float(data.WindowCenter), float(data.WindowWidth))
            assert_within_one_level(gray, expected)
        else:
            np.testing.assert_array_equal(gray, png((values - values.min()).astype(np.uint16)))


def test_a_transfer_syntax_that_lies_about_its_pixels_is_corrupt():
    lying = dicom(GRAY)
    place = lying.index(ExplicitVRLittleEndian.encode() + b"\0")
    assert reason(lying[:place] + b"1.2.840.10008.1.2.5\0" + lying[place + 20 :]) == "corrupt"
