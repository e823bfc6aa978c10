# SPDX-License-Identifier: Apache-2.0
"""table.py RESULTS FILE [--check]: writes FILE (docs/librpc/interop.md) from the results that
run.py kept, or with --check holds that FILE is what the results give."""
import json
import pathlib
import sys

import cases

import grpc

NAMES = {"ours": "librpc", "cpp": "gRPC C++", "grpcio": "grpcio", "js": "grpc-js"}


def versions():
    lock = pathlib.Path(__file__).resolve().parent.parent / "node" / "package.json"
    js = json.loads(lock.read_text())["dependencies"]["@grpc/grpc-js"]
    # Debian builds grpcio and gRPC C++ from one source package.
    return f"gRPC C++ and grpcio {grpc.__version__} of Debian, @grpc/grpc-js {js}"


def read(results):
    found = {}
    for pair in cases.PAIRS:
        for case in cases.CASES:
            file = results / pair / case
            found[pair, case] = file.read_text().strip() if file.exists() else "missing: not run"
    return found


def render(found):
    notes = []

    def cell(pair, case):
        word, _, reason = found[pair, case].partition(": ")
        reason = reason if word == "not possible" else cases.NOTES.get((pair, case))
        if not reason:
            return word
        if reason not in notes:
            notes.append(reason)
        return f"{word} ({notes.index(reason) + 1})"

    heads = [" → ".join(NAMES[side] for side in sides) for sides in cases.PAIRS.values()]
    lines = [
        "<!-- made by tests/interop/testservice/table.py from a run; do not edit -->",
        "# Interoperability",
        "",
        "The cases of gRPC's interop-test-descriptions, by their names, between librpc and gRPC's "
        f"own implementations ({versions()}), client → server, all over TLS 1.3. Each cell is a "
        "test of the suite: `ctest --test-dir build/release -R '^interop-testservice'`.",
        "",
        "| case | is | " + " | ".join(heads) + " |",
        "|---|---|" + "---|" * len(heads),
    ]
    for case, text in cases.CASES.items():
        cells = " | ".join(cell(pair, case) for pair in cases.PAIRS)
        lines.append(f"| {case} | {text} | {cells} |")
    lines.append("")
    lines += [f"{i}. {note}." for i, note in enumerate(notes, 1)]
    lines += [
        "",
        "`per_rpc_creds` is described with accounts of Google's; here the bearer token names user "
        "and scope, and the servers answer with them. Soaks run 10 times; with `DACM_TEST_FULL=1` "
        "2,000 calls and 300 channels.",
    ]
    return "\n".join(lines) + "\n"


def main():
    results, file = (pathlib.Path(argument) for argument in sys.argv[1:3])
    found = read(results)
    missing = [key for key, line in found.items() if line.startswith("missing")]
    if missing:
        print(f"SKIPPED: {' '.join(missing[0])}: {found[missing[0]]}")
        return 0
    text = render(found)
    if sys.argv[3:] != ["--check"]:
        file.write_text(text)
        return 0
    if file.exists() and file.read_text() == text:
        return 0
    print(f"{file} is not what this run gives; run scripts/interop and commit it:\n{text}")
    return 1


sys.exit(main())
