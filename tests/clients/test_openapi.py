"""schemathesis over `/openapi.json`: requests that the page calls good and requests that it calls bad, by the thousand.

A good one must not be refused, a bad one must be, each answer must have the form that the page says, and nothing may fail inside.
"""

import os
import subprocess
import sys
import unittest

from served import SCRATCH, Server

#: Requests for each address in each phase; more find more and take longer.
EXAMPLES = os.environ.get("EXAMPLES", "15")


class Schemathesis(unittest.TestCase):
    def test_it_finds_nothing(self):
        store = SCRATCH / "openapi.db"
        store.unlink(missing_ok=True)
        with Server("--conversations", str(store), "--queue-seconds", "600") as server:
            command = [
                *[sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"],
                *["--checks", "all", "--max-examples", EXAMPLES, "--seed", "1", "--workers", "4", "--no-color"],
            ]
            run = subprocess.run(command, cwd=SCRATCH, capture_output=True, text=True, check=False)
            self.assertEqual(run.returncode, 0, run.stdout[-20000:] + run.stderr)
            panics = [line for line in server.complaints if "panicked" in line]
            self.assertEqual(panics, [])


if __name__ == "__main__":
    unittest.main()
