"""The README's code blocks run, as they stand, in an empty folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("code", BLOCKS, ids=lambda code: code.split("\n", 1)[0])
def test_block_runs(code, tmp_path):
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_plug_in_example_is_short_and_imports_the_prior_alone():
    (code,) = [block for block in BLOCKS if "BlurPrior(" in block]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    assert re.findall(r"^from ubp\S* import .*|^import ubp.*", code, re.M) == ["from ubp.prior import BlurPrior"]


def test_every_command_of_the_readme_exists():
    from ubp.cli import app

    text = README.read_text(encoding="utf-8")
    commands = set(re.findall(r"\bubp ([a-z]+)", " ".join(re.findall(r"```bash\n(.*?)```", text, re.S))))
    assert commands <= set(app)
    assert {"demo", "info", "train", "evaluate"} <= commands
