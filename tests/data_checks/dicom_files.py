"""Small DICOM files for tests: every layout and compression, written by pydicom, Pillow and GDCM."""

import io
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import gdcm
import numpy as np
from PIL import Image
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

NATIVE = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}
BY_GDCM = {
    "JPEG Lossless": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    "JPEG Lossless, any predictor": gdcm.TransferSyntax.JPEGLosslessProcess14,
    "JPEG-LS": gdcm.TransferSyntax.JPEGLSLossless,
}
COMPRESSED = ("run lengths", "JPEG 2000", *BY_GDCM)
LOSSLESS = (*NATIVE, *COMPRESSED)


def data_set(values: np.ndarray, *, bits: int = 0, **elements) -> Dataset:
    """Return a data set without pixels, as secondary capture."""
    data = Dataset()
    data.SOPClassUID = SecondaryCaptureImageStorage
    data.SOPInstanceUID = generate_uid(entropy_srcs=["one"])
    data.Rows, data.Columns = values.shape[:2]
    data.SamplesPerPixel = 1 if values.ndim == 2 else values.shape[2]
    data.PhotometricInterpretation = "MONOCHROME2" if values.ndim == 2 else "RGB"
    if values.ndim == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated = 8 * values.itemsize
    data.BitsStored = bits or 8 * values.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(values.dtype.kind == "i")
    for name, value in elements.items():
        setattr(data, name, value)
    return data


def dicom(values: np.ndarray, *, how: str = "explicit", bits: int = 0, **elements) -> bytes:
    """Return a DICOM file of (rows, columns) or (rows, columns, 3) whole numbers, stored as `how` says."""
    data = data_set(values, bits=bits, **elements)
    if how in BY_GDCM:
        return _by_gdcm(dicom(values, bits=bits, **elements), BY_GDCM[how])
    if how == "JPEG 2000":
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, "JPEG2000", no_jp2=True, irreversible=False)
        return with_stream(data, JPEG2000Lossless, buffer.getvalue())
    syntax = NATIVE.get(how, ExplicitVRLittleEndian)
    kind = values.dtype.newbyteorder(">" if how == "big endian" else "<")
    pixels = values.astype(kind).tobytes()
    data.add_new("PixelData", "OW" if values.itemsize == 2 else "OB", pixels + bytes(len(pixels) % 2))
    if how == "run lengths":
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = syntax
        data.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        syntax = RLELossless
    return written(data, syntax)


def jpeg(values: np.ndarray, **elements) -> bytes:
    """Return a DICOM file with baseline JPEG inside."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "JPEG", quality=95)
    if values.ndim == 3:
        elements = {"PhotometricInterpretation": "YBR_FULL_422", **elements}
    return with_stream(data_set(values, **elements), JPEGBaseline8Bit, buffer.getvalue())


def with_stream(data: Dataset, syntax: str, stream: bytes) -> bytes:
    """Return a DICOM file with a compressed stream as its pixels."""
    data.add_new("PixelData", "OB", encapsulate([stream]))
    data["PixelData"].is_undefined_length = True
    return written(data, syntax)


def written(data: Dataset, syntax: str) -> bytes:
    """Return the file of a data set."""
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


def bare(data: Dataset, *, implicit: bool) -> bytes:
    """Return the elements alone, without preamble and file meta."""
    buffer = io.BytesIO()
    dcmwrite(buffer, data, implicit_vr=implicit, little_endian=True)
    return buffer.getvalue()


@cache
def _by_gdcm(file: bytes, syntax: int) -> bytes:
    with TemporaryDirectory() as folder:
        before, after = Path(folder, "before.dcm"), Path(folder, "after.dcm")
        before.write_bytes(file)
        reader = gdcm.ImageReader()
        reader.SetFileName(str(before))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(after))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return after.read_bytes()
