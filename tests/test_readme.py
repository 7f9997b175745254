"""What the README shows works: its Python runs, its commands exist, its links lead somewhere."""

import re
import shlex
from pathlib import Path

import click
import pytest

from qkvlib.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(code, "README.md", "exec"), {})


COMMANDS = re.findall(r"^\.venv/bin/qkv (.+?)(?:  +#.*)?$", README, re.M)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_and_option_exists(line: str) -> None:
    words = shlex.split(line)
    command: click.Command = main
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    # Parsing refuses an unknown option or a missing value; nothing is run.
    command.make_context("qkv", words, resilient_parsing=False)


def test_commands_were_found() -> None:
    assert len(COMMANDS) >= 4


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("target", re.findall(r"\bmake ([a-z]+)\b", README))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)
