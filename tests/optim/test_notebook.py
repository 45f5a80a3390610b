"""The notebook of examples/: it runs from top to bottom, and shows what its text says."""

import io
import re
from base64 import b64decode

import pytest
from entry_points import ROOT
from PIL import Image

PATH = ROOT / "examples" / "corridors.ipynb"
nbformat = pytest.importorskip("nbformat", reason="installed by make test")


def test_it_is_valid_and_has_no_outputs():
    notebook = nbformat.read(PATH, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


@pytest.fixture(scope="module")
def outputs():
    """The outputs of all cells, executed in a kernel of its own."""
    nbclient = pytest.importorskip("nbclient", reason="installed by make test")
    pytest.importorskip("ipykernel", reason="installed by make test")
    notebook = nbformat.read(PATH, as_version=4)
    place = {"metadata": {"path": str(PATH.parent)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=place).execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


@pytest.fixture(scope="module")
def text(outputs):
    return "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")


@pytest.mark.slow
def test_the_cone_is_a_corridor_and_the_bowl_is_not(text):
    curvature = dict(re.findall(r"^(cone|bowl) +[\d.]+ +[\d.]+ +([\d.]+)$", text, re.M))
    assert float(curvature["cone"]) == 0
    # H = diag(1, 4) at (2, 1): Hg = (2, 16).
    assert float(curvature["bowl"]) == pytest.approx((2**2 + 16**2) ** 0.5, abs=1e-3)


@pytest.mark.slow
def test_clr_reaches_the_tip_of_the_cone_in_one_step_and_not_the_bottom_of_the_bowl(text):
    lines = re.findall(r"^(cone|bowl) ([\de. -]+)$", text, re.M)
    losses = {name: [float(loss) for loss in found.split()] for name, found in lines}
    assert len(losses["cone"]) == 2
    assert losses["cone"][1] < 1e-12
    assert losses["bowl"][1] > 0.1 * losses["bowl"][0]
    assert losses["bowl"] == sorted(losses["bowl"], reverse=True)


@pytest.mark.slow
def test_the_network_learns_the_digits(text):
    (loss,) = re.findall(r"mean training loss of the last epoch: ([\d.]+)", text)
    assert float(loss) < 0.5


@pytest.mark.slow
def test_both_pictures_are_drawn(outputs):
    images = [o.data["image/png"] for o in outputs if "image/png" in o.get("data", {})]
    assert len(images) == 2
    for image in images:
        colors = Image.open(io.BytesIO(b64decode(image))).convert("RGB").getcolors(1 << 20)
        assert len(colors) > 50, "an empty picture"


@pytest.mark.slow
def test_no_cell_reports_an_error(outputs):
    assert not [o for o in outputs if o.output_type == "error"]
    assert not [o.text for o in outputs if o.output_type == "stream" and o.name == "stderr"]
