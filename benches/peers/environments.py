"""An environment for each system, made from its pinned requirements: no two of them share a package by accident.

`python -m peers.environments ROOT SYSTEM` prints the path of an interpreter.
"""

import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"


def python(root, system):
    """The interpreter of that system's environment; made, or made anew when the requirements have changed.

    Errors: `RuntimeError` with the installer's last line if it cannot be installed.
    """
    requirements = REQUIREMENTS / f"{system}.txt"
    home = Path(root) / "environments" / system
    made = home / "requirements.txt"
    interpreter = home / "bin" / "python"
    if not made.exists() or made.read_text() != requirements.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        install = [interpreter, "-m", "pip", "install", "--quiet", "--requirement", requirements]
        done = subprocess.run(install, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise RuntimeError(lines[-1] if lines else f"pip ended with {done.returncode}")
        made.write_text(requirements.read_text())
    return interpreter


if __name__ == "__main__":
    print(python(*sys.argv[1:]))
