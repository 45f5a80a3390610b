"""Listings of image files: class folders, searched recursively, and Tiny-ImageNet's annotations."""

from __future__ import annotations

import os
from collections.abc import Iterator

from clr.errors import UserError

# Path relative to the folder of the split, with "/"; size in bytes; modification time in ns.
Entry = tuple[str, int, int]
Listing = dict[str, list[Entry]]  # by class; classes and files in alphabetical order

MAX_DEPTH = 100  # of folders below one of a class
ANNOTATIONS = "val_annotations.txt"
# A file with one of these extensions between the class folders was probably meant as an image.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")


def list_classes(root: str) -> Listing:
    """Files of each class in `root`: those in CLASS/ and in all folders below it.

    Hidden files and folders are ignored, and so is Tiny-ImageNet's CLASS/CLASS_boxes.txt. Links are
    followed, and each file is stat'ed once.

    Raises:
        UserError: there is no class, a class has no files, an image is outside of the class
            folders, or a file or folder cannot be used.
    """
    names = []
    for entry in _scan(root):
        if _is_dir(entry):
            names.append(entry.name)
        elif entry.name.lower().endswith(EXTENSIONS):
            raise UserError(f"{entry.path} is not in the folder of a class; move or delete it")
    if not names:
        raise UserError(f"{root} has no classes; put the images of each class into a folder in it")
    listing = {}
    for name in sorted(names):
        boxes = f"{name}/{name}_boxes.txt"
        files = sorted(entry for entry in _walk(root, name, ()) if entry[0] != boxes)
        if not files:
            raise UserError(
                f"{os.path.join(root, name)} has no images; add some, or delete this class from "
                "every split"
            )
        listing[name] = files
    return listing


def list_annotated(root: str) -> Listing:
    """Files of each class in Tiny-ImageNet's layout of `val`: images/* and val_annotations.txt.

    Each line of the latter has the name of an image, its class and a bounding box, which is
    ignored, separated by tabs. UserError if images and lines do not match one to one.
    """
    annotations = os.path.join(root, ANNOTATIONS)
    files = {entry[0]: entry for entry in _walk(root, "images", ())}
    listing: Listing = {}
    for number, line in enumerate(_lines(annotations), start=1):
        name, _, rest = line.rstrip("\n").partition("\t")
        label = rest.split("\t")[0]
        entry = files.pop(f"images/{name}", None)
        if not label or entry is None:
            raise UserError(
                f"{annotations}: line {number} does not name an image in images/ that no "
                "other line names, and its class; restore the file"
            )
        listing.setdefault(label, []).append(entry)
    if files:
        raise UserError(
            f"{annotations} does not name the class of {min(files)}; restore the file or delete "
            "the image"
        )
    return {label: sorted(listing[label]) for label in sorted(listing)}


def _lines(path: str) -> list[str]:
    """Lines of a text file, without regard to the platform's end of a line."""
    try:
        with open(path, encoding="utf-8") as file:
            return list(file)
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text in UTF-8; restore the file") from None
    except OSError as error:
        raise _unusable(path, error) from None


def _walk(root: str, folder: str, ancestors: tuple[tuple[int, int], ...]) -> Iterator[Entry]:
    """Yield the files below `root`/`folder`; `ancestors`: device and inode of folders above it."""
    path = os.path.join(root, folder)
    entries = _scan(path)
    status = os.stat(path)
    identity = status.st_dev, status.st_ino
    if len(ancestors) >= MAX_DEPTH:
        raise UserError(
            f"{os.path.join(root, folder.split('/')[0])} has folders more than {MAX_DEPTH} deep; "
            "move the images up"
        )
    if identity in ancestors:
        raise UserError(f"{path} is a link to a folder that contains it; delete the link")
    for entry in entries:
        relative = f"{folder}/{entry.name}"
        try:
            if _is_dir(entry):
                yield from _walk(root, relative, (*ancestors, identity))
            elif entry.is_file():
                status = entry.stat()
                yield relative, status.st_size, status.st_mtime_ns
        except OSError as error:
            raise _unusable(entry.path, error) from None


def _is_dir(entry: os.DirEntry[str]) -> bool:
    """Return whether the entry is a folder or a link to one; UserError for a link to nothing."""
    try:
        if entry.is_symlink():
            os.stat(entry.path)  # is_dir is False for a link to nothing, without the reason
        return entry.is_dir()
    except FileNotFoundError:
        raise UserError(
            f"{entry.path} is a link to nothing; restore its target or delete it"
        ) from None
    except OSError as error:
        raise _unusable(entry.path, error) from None


def _scan(path: str) -> list[os.DirEntry[str]]:
    """Entries of a folder that are not hidden."""
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise _unusable(path, error) from None


def _unusable(path: str, error: OSError) -> UserError:
    return UserError(f"{path} cannot be read ({error.strerror}); fix that or delete it")
