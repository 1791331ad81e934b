"""Why a file takes no part in training: every reason code of the facts and the manifest, with its remedy.

A code stands in one of three tables: the file cannot be opened, cannot be decoded, or is left out of a manifest.
"""

from __future__ import annotations

#: The file cannot even be opened, or its name tells that it is no image. Tried again in every scan.
UNREACHABLE = {
    "broken_link": "A link that leads nowhere or in a circle. Remove it, or mend its target.",
    "outside_root": "A link that leads out of the data root. Copy the file, or name a root that holds both.",
    "permission_denied": "The file or folder may not be read. Give the user who runs radtrain read permission.",
    "vanished": "The file was gone, or had changed, when it was read. Run again when nobody writes there.",
    "not_a_file": "A pipe, socket or device. Remove it.",
    "name_not_utf8": "The name is not valid UTF-8. Rename the file.",
    "file_too_large": "No radiograph is larger than 512 MiB. Remove the file, or export it as PNG.",
    "read_error": "The disk reported an error. Check the disk or the network mount.",
}

#: The bytes were read, and no gray pixels can be had from them.
UNREADABLE = {
    "empty_file": "The file has no bytes: copy or download it again, or delete it.",
    "sidecar": "The operating system's or browser's own note beside a file, not an image: it may be deleted.",
    "git_lfs_pointer": "The file is a Git LFS pointer, not the image itself: run `git lfs pull` in its repository.",
    "archive": "The file is an archive: unpack it, name the folder that comes out of it, and move the archive away.",
    "not_an_image": "The file's content is no image format that radtrain reads: delete it, or convert it to PNG.",
    "truncated": "The image ends before its last pixel: copy or download it again, or delete it.",
    "corrupt": "The image's content is damaged and cannot be decoded: get it again from its source, or delete it.",
    "too_large": "The image claims more than 64 million pixels, three times the largest radiographs in use: shrink it.",
    "several_frames": "The file holds several pictures: save the radiograph among them as a file of its own.",
    "unsupported_mode": "The image's colours cannot be turned into gray: convert it to a gray PNG.",
    "no_pixels": "The DICOM file holds no image (a report, a structure, a presentation state): take it out.",
    "unsupported_compression": "The DICOM file's compression cannot be decoded here: save it uncompressed, or as PNG.",
}

#: The image can be read, and is left out of training and measuring all the same.
EXCLUDED = {
    "duplicate": "The same bytes stand in another file, which is used.",
    "contradictory_label": "The same bytes stand in both classes, so neither label can be believed.",
    "label_unknown": "The catalog lists its folder as unknown.",
    "links_splits": "It ties together images that were divided between splits before it came; they stay.",
}
