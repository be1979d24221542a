"""What a shell is told when it asks how a word may go on."""

from __future__ import annotations

import os
import subprocess
import sys


def test_a_shell_completes_commands_and_their_options() -> None:
    """As bash asks: by variables of the environment."""

    def completed(words: str) -> list[str]:
        environ = {"_TAILRACE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "1"}
        environ["COMP_CWORD"] = str(len(words.split(" ")) - 1)
        code = "from flink_jobs.cli import app; app(prog_name='tailrace')"
        run = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | environ, capture_output=True, text=True
        )
        return run.stdout.split()

    assert completed("tailrace jo") == ["jobs", "job"]
    assert "--bounded" in completed("tailrace run --b")
