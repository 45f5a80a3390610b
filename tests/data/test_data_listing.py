"""Layouts of image folders: nested folders, Tiny-ImageNet, links, names, and what is refused."""

import os
import shutil
import tempfile
import unicodedata
from pathlib import Path

import pytest
import torchvision
from data_cases import folder_config, unprivileged
from PIL import Image

from clr.config import DatasetConfig, load
from clr.data import count_classes, find_prepared, prepare, prepare_once
from clr.data.sources import ImageFolder, listing, open_source
from clr.errors import UserError


def names(path: Path, split: str = "train", **changes) -> list[str]:
    """Paths of a split's images in their order, relative to the folder of the dataset."""
    images = open_source(folder_config(path, **changes)).split(split)
    return [os.path.relpath(item, path) for item in images.items]


def mistake(path: Path, **changes) -> str:
    """The message that refuses the folder."""
    with pytest.raises(UserError) as caught:
        open_source(folder_config(path, **changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def make_folder(root: Path, files: list[str]) -> Path:
    """A folder with small images of these names."""
    for i, name in enumerate(files):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 12), (i, i, i)).save(path, "PNG")
    return root


def test_images_in_subfolders_of_a_class_belong_to_it(tmp_path):
    train = ["train/a/1.png", "train/a/sub/2.png", "train/a/sub/x/0.png", "train/b/images/3.png"]
    root = make_folder(tmp_path / "f", [*train, "test/a/1.png", "test/b/1.png"])
    assert names(root) == train
    assert open_source(folder_config(root)).split("train").labels.tolist() == [0, 0, 0, 1]
    info = prepare(folder_config(root), str(tmp_path / "data"), "torch")
    assert (info.num_train, info.num_test) == (4, 2)


def test_classes_and_images_are_those_of_torchvisions_image_folder(tmp_path):
    files = ["b/z.png", "b/deep/er/0.JPEG", "a/images/1.png", "a/2.jpg", "a/more/3.webp", "c/9.bmp"]
    root = make_folder(tmp_path / "f", [f"{s}/{name}" for s in ("train", "test") for name in files])
    theirs = torchvision.datasets.ImageFolder(str(root / "train"))
    source = open_source(folder_config(root))
    ours = source.split("train")
    assert source.classes == theirs.classes
    assert sorted(zip(ours.items, ours.labels.tolist(), strict=True)) == sorted(theirs.samples)


def test_order_of_the_images_of_a_class_is_alphabetical(data_folder):
    folders = [f"train/{c}" for c in ("ant", "bee", "cat")]
    expected = [sorted(f"{f}/{file}" for file in os.listdir(data_folder / f)) for f in folders]
    assert names(data_folder) == [name for files in expected for name in files]


def test_hidden_files_and_folders_are_ignored(data_folder):
    before = names(data_folder)
    (data_folder / "train" / "ant" / ".DS_Store").write_bytes(b"x")
    (data_folder / "train" / ".cache").mkdir()
    make_folder(data_folder, ["train/ant/.ipynb_checkpoints/0.png"])
    assert names(data_folder) == before


def tiny_imagenet(root: Path) -> Path:
    """Tiny-ImageNet's layout with two classes."""
    train = [f"train/{c}/images/{c}_{i}.JPEG" for c in ("n01", "n02") for i in range(2)]
    test = [f"test/images/test_{i}.JPEG" for i in range(2)]
    make_folder(root, [*train, *(f"val/images/val_{i}.JPEG" for i in range(3)), *test])
    for c in ("n01", "n02"):
        (root / "train" / c / f"{c}_boxes.txt").write_text(f"{c}_0.JPEG\t0\t0\t62\t62\n")
    lines = [f"val_{i}.JPEG\t{c}\t0\t32\t44\t62\n" for i, c in enumerate(("n02", "n01", "n02"))]
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    return root


def test_tiny_imagenet_is_read_with_its_annotations(tmp_path):
    root = tiny_imagenet(tmp_path / "tiny")
    assert names(root, "test", source="imagenet") == [
        "val/images/val_1.JPEG",
        "val/images/val_0.JPEG",
        "val/images/val_2.JPEG",
    ]
    info = prepare(folder_config(root, source="imagenet"), str(tmp_path / "data"), "torch")
    assert (info.classes, info.num_train, info.num_test) == (("n01", "n02"), 4, 3)
    assert info.skipped == 0, "the texts with bounding boxes are not originals"
    assert "only one of them has images, n01, n02" in mistake(root, source="folder")


def test_the_config_of_tiny_imagenet_reads_its_layout(tmp_path):
    root = tiny_imagenet(tmp_path / "tiny-imagenet-200")
    (root / "wnids.txt").write_text("n01\nn02\n")
    (root / "words.txt").write_text("n01\tant\nn02\tbee\n")
    dataset = load(["dataset=tiny-imagenet", f"dataset.path={root}"]).dataset
    info = prepare(dataset, str(tmp_path / "data"), "torch")
    assert (info.label, info.resolution) == ("Tiny-ImageNet", 64)
    assert (info.classes, info.num_train, info.num_test) == (("n01", "n02"), 4, 3)
    assert count_classes(dataset) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("val_0.JPEG\tn02\nval_1.JPEG\n", "line 2 does not name an image"),
        ("val_0.JPEG\tn02\nval_0.JPEG\tn01\n", "line 2 does not name an image"),
        ("val_7.JPEG\tn02\n", "line 1 does not name an image"),
        ("val_0.JPEG\tn02\nval_2.JPEG\tn01\n", "does not name the class of images/val_1.JPEG"),
    ],
)
def test_annotations_that_do_not_match_the_images_are_refused(tmp_path, text, message):
    root = tiny_imagenet(tmp_path / "tiny")
    (root / "val" / "val_annotations.txt").write_text(text)
    assert message in mistake(root, source="imagenet")


def test_linked_files_and_folders_are_read(data_folder, tmp_path):
    before = names(data_folder)
    bees = data_folder / "train" / "bee"
    bees.rename(tmp_path / "elsewhere")
    bees.symlink_to(tmp_path / "elsewhere")
    (data_folder / "train" / "ant" / "zzz.png").symlink_to(tmp_path / "elsewhere" / "0.png")
    assert names(data_folder) == [*before[:8], "train/ant/zzz.png", *before[8:]]


def test_link_to_nothing_is_refused(data_folder):
    link = data_folder / "train" / "ant" / "lost.png"
    link.symlink_to("nowhere.png")
    assert mistake(data_folder).startswith(f"{link} is a link to nothing; restore its target")


def test_link_to_itself_is_refused(data_folder):
    link = data_folder / "train" / "ant" / "self.png"
    link.symlink_to(link)
    assert mistake(data_folder).startswith(f"{link} cannot be read")


@pytest.mark.parametrize(
    ("target", "message"), [("nowhere", "is a link to nothing"), ("wasp", "cannot be read")]
)
def test_link_in_place_of_a_class_is_refused(data_folder, target, message):
    link = data_folder / "train" / "wasp"
    link.symlink_to(target)
    assert mistake(data_folder).startswith(f"{link} {message}")


def test_folders_without_end_are_refused(data_folder):
    path = data_folder / "train" / "ant"
    path.joinpath(*["d"] * (listing.MAX_DEPTH + 1)).mkdir(parents=True)
    assert f"{path} has folders more than {listing.MAX_DEPTH} deep" in mistake(data_folder)


def test_annotations_that_are_not_text_are_refused(data_folder):
    path = data_folder / "test" / listing.ANNOTATIONS
    (data_folder / "test" / "images").mkdir()
    path.write_bytes(b"0.png\t\xff\n")
    assert mistake(data_folder) == f"{path} is not text in UTF-8; restore the file"


def test_padding_wider_than_the_images_is_refused(data_folder):
    assert "so that crops would be black" in mistake(data_folder, resolution=3, crop_padding=4)


def test_loop_of_links_is_refused(data_folder):
    link = data_folder / "train" / "ant" / "loop"
    link.symlink_to(data_folder / "train")
    assert "is a link to a folder that contains it; delete the link" in mistake(data_folder)


def test_fifo_is_ignored(data_folder):
    before = names(data_folder)
    os.mkfifo(data_folder / "train" / "ant" / "0-fifo.png")  # reading it would wait for ever
    assert names(data_folder) == before


def test_layouts_without_the_required_folders_are_refused(data_folder, tmp_path):
    assert str(tmp_path / "nowhere" / "train") in mistake(tmp_path / "nowhere")
    (tmp_path / "empty" / "train").mkdir(parents=True)
    assert "has no classes" in mistake(tmp_path / "empty")
    single = make_folder(tmp_path / "single", ["train/ant/0.png", "test/ant/0.png"])
    assert mistake(single).endswith("has only the class ant; at least two are needed")


def test_classes_that_only_one_split_has_are_named(data_folder):
    make_folder(data_folder, ["train/dog/0.png"])
    assert mistake(data_folder).endswith("only one of them has dog")
    make_folder(data_folder, [f"train/dog{i}/0.png" for i in range(9)])
    assert mistake(data_folder).endswith("has dog, dog0, dog1, dog2, dog3 and 5 more")


def test_class_folder_without_files_is_named(data_folder):
    (data_folder / "train" / "dog" / "empty").mkdir(parents=True)
    assert mistake(data_folder).startswith(f"{data_folder / 'train' / 'dog'} has no images")


def test_image_outside_of_the_class_folders_is_refused(data_folder):
    (data_folder / "train" / "labels.csv").write_text("not an image, so it may stay")
    assert len(names(data_folder)) == 24
    make_folder(data_folder, ["train/9.PNG"])
    assert mistake(data_folder).endswith("9.PNG is not in the folder of a class; move or delete it")


def test_file_with_the_name_of_a_class_is_not_a_class(data_folder):
    shutil.rmtree(data_folder / "test" / "cat")
    (data_folder / "test" / "cat").write_text("a file")
    assert mistake(data_folder).endswith("only one of them has cat")


def test_unicode_names_are_kept(tmp_path):
    files = [f"{split}/{c}/ü 1.png" for split in ("train", "test") for c in ("Käfer", "虫")]
    root = make_folder(tmp_path / "f", files)
    info = prepare(folder_config(root), str(tmp_path / "data"), "torch")
    assert info.classes == ("Käfer", "虫")
    assert find_prepared(folder_config(root), str(tmp_path / "data"), "torch") == info


def test_classes_that_differ_in_unicode_normalization_are_shown_escaped(tmp_path):
    nfc, nfd = (unicodedata.normalize(form, "Käfer") for form in ("NFC", "NFD"))
    files = [f"{s}/{c}/0.png" for s, c in (("train", nfc), ("test", nfd))]
    root = make_folder(tmp_path / "f", [*files, "train/x/0.png", "test/x/0.png"])
    assert mistake(root).endswith(f"only one of them has {nfd!a}, {nfc!a}")


def test_names_that_are_not_text_are_listed_escaped(config, data_folder, tmp_path):
    ants = os.fsencode(data_folder / "train" / "ant")
    for name in (b"\xff.png", b"tab\tnewline\n.png"):
        Path(os.fsdecode(os.path.join(ants, name))).write_text("not an image")
    info = prepare(config, str(tmp_path / "data"), "torch")
    lines = Path(info.folder, "skipped.txt").read_text("utf-8").splitlines()
    listed = [os.path.basename(line.split("\t")[0]) for line in lines]
    assert listed == [r"tab\tnewline\n.png", r"\udcff.png"]


@pytest.mark.parametrize("target", ["train/ant", "train/ant/0.png"])
def test_missing_permission_is_an_error_and_not_a_reason_to_skip(data_folder, target):
    # Not in tmp_path, which only its owner can enter.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        root = Path(shutil.copytree(data_folder, Path(folder) / "images"))
        os.chmod(root / target, 0)
        with unprivileged(), pytest.raises(UserError) as caught:
            prepare(folder_config(root), str(Path(folder) / "data"), "torch")
        os.chmod(root / target, 0o700)
    assert str(caught.value).startswith(f"{root / target} cannot be read (Permission denied)")


def test_each_image_is_statted_once_however_often_the_data_is_prepared(
    config, data_folder, tmp_path, monkeypatch
):
    prepare(config, str(tmp_path / "data"), "torch")
    counts = count_stats(monkeypatch)
    assert [count_classes(config), count_classes(config)] == [3, 3]
    first = prepare_once(config, str(tmp_path / "data"), "torch")
    assert prepare_once(config, str(tmp_path / "data"), "torch") is first
    images = [str(path) for path in data_folder.glob("*/*/*")]
    assert counts == dict.fromkeys(images, 1)


def count_stats(monkeypatch) -> dict[str, int]:
    """Count the first `stat` of each entry of a listing, the only one that reaches the disk."""
    counts: dict[str, int] = {}
    real_scan = listing._scan

    class Counted:
        def __init__(self, entry):
            self.entry, self.is_known = entry, False

        def __getattr__(self, name):
            return getattr(self.entry, name)

        def stat(self):
            if not self.is_known:
                counts[self.entry.path] = counts.get(self.entry.path, 0) + 1
            self.is_known = True
            return self.entry.stat()

    monkeypatch.setattr(listing, "_scan", lambda path: [Counted(e) for e in real_scan(path)])
    return counts


def test_home_folder_is_expanded(data_folder, monkeypatch):
    monkeypatch.setenv("HOME", str(data_folder.parent))
    source = open_source(folder_config(Path("~/images")))
    assert isinstance(source, ImageFolder)
    assert source.path == str(data_folder)


def test_missing_path_is_named():
    with pytest.raises(UserError, match=r"dataset\.path is missing; give the folder that holds"):
        open_source(DatasetConfig(name="x", source="folder"))
