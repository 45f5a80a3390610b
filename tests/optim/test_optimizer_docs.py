"""docs/optimizer.md: its examples run, and its number for gradients of 1e-20 is right."""

import re
from pathlib import Path

import pytest
from optim_cases import constant_grad, rate

from clr import CLR

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "optimizer.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_runs(example):
    exec(example, {})


def test_the_number_for_tiny_gradients():
    assert "gradients of 1e-20\n  and a loss of 1 move parameters by −3e19" in PAGE
    p = constant_grad(3, 1e-20)
    optimizer = CLR([p])
    optimizer.step(loss=1.0)
    assert p[0].item() == pytest.approx(-1 / 3e-20, rel=1e-6)
    assert rate(optimizer) == pytest.approx(1 / 3e-40, rel=1e-6)
