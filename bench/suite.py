# SPDX-License-Identifier: Apache-2.0
"""The harness of the end-to-end tests, for the rows that need a simsd with users and clients or a
skmsd with VAL services: one harness, so that the bench measures what the tests prove right."""
import importlib
import os
import pathlib
import sys

SOURCE = pathlib.Path(__file__).resolve().parent.parent
NODE = SOURCE / "tests" / "interop" / "node"


def load(build, module="sims"):
    """A module of tests/e2e, on the programs of that build."""
    os.environ["DACM_BIN"] = str(build / "bin")
    os.environ["DACM_STUBS"] = str(build / "tests" / "e2e" / "stubs")
    os.environ["DACM_SOURCE_DIR"] = str(SOURCE)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    folder = str(SOURCE / "tests" / "e2e")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(module)
