# SPDX-License-Identifier: Apache-2.0
"""The blocks of code of a document, as a reader would use them.

A block whose fence says file=NAME is appended to that file. Blocks of sh are one script, run in
the order of the document in a folder of its own; a block of text after one is what was printed
since the block of text before. Other blocks with a language are an error: every one is used.

tutorial.py DOCUMENT NAME OUTPUT writes the file NAME of a document, for a build.
"""
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))

import ports  # noqa: E402

PORT = "50051"  # in the document; a free one when it runs


def blocks(document):
    """(language, file or None, code) of each fenced block."""
    found = re.findall(r"^```(\S*)(?: file=(\S+))?\n(.*?)^```$", document, re.M | re.S)
    assert len(re.findall(r"^```", document, re.M)) == 2 * len(found), "a fence that is not understood"
    return found


def take_apart(document):
    """Files by name, the script, and what it prints."""
    files, script, expected = {}, ["set -eu"], []
    for language, name, code in blocks(document):
        if name:
            files[name] = files.get(name, "") + code
        elif language == "sh":
            script.append(code)
        elif language == "text":
            expected.append(code)
            script.append("echo '--- text'")
        else:
            raise AssertionError(f"a block of {language or 'nothing'} that nobody would run")
    return files, "\n".join(script), expected


def run(path, folder, env):
    """Runs the document's blocks in folder; what each text block shows must be printed."""
    document = pathlib.Path(path).read_text().replace(PORT, str(ports.reserve()))
    files, script, expected = take_apart(document)
    for name, text in files.items():
        (folder / name).write_text(text)
    done = subprocess.run(["/bin/bash", "-c", script], cwd=folder, env=env, text=True,
                          capture_output=True, timeout=200, check=False)
    assert done.returncode == 0, (done.returncode, done.stdout + done.stderr)
    printed = done.stdout.split("--- text\n")
    assert len(printed) == len(expected) + 1, done.stdout
    for shown, text in zip(printed, expected):
        assert shown.endswith(text), f"the document shows\n{text}\nand this was printed\n{shown}"


if __name__ == "__main__":
    named = "".join(code for _, name, code in blocks(pathlib.Path(sys.argv[1]).read_text())
                    if name == sys.argv[2])
    assert named, f"{sys.argv[1]} has no block file={sys.argv[2]}"
    pathlib.Path(sys.argv[3]).write_text(named)
