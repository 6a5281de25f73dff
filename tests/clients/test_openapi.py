"""schemathesis over `/openapi.json`: requests that the page calls good and requests that it calls bad, by the thousand.

A good one must not be refused, a bad one must be, each answer must have the form that the page says, and nothing may fail inside.
"""

import os
import subprocess
import sys
import unittest

from served import HERE, SCRATCH, Server

#: Requests for each address in each phase; more find more and take longer.
EXAMPLES = os.environ.get("EXAMPLES", "10")
KEY = "sk-a-key-for-schemathesis"


class Schemathesis(unittest.TestCase):
    def test_it_finds_nothing(self):
        store = SCRATCH / "openapi.db"
        store.unlink(missing_ok=True)
        keys = SCRATCH / "openapi-keys.txt"
        keys.write_text(KEY + "\n")
        with Server("--conversations", str(store), "--queue-seconds", "600", "--api-key-file", str(keys)) as server:
            command = [
                *[sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")],
                *["run", f"{server.url}/openapi.json", "--header", f"Authorization: Bearer {KEY}"],
                # All checks, as is its default. One worker: Python 3.11 cannot read source code in two threads at once, which the tool does.
                *["--max-examples", EXAMPLES, "--seed", "1", "--workers", "1", "--no-color"],
            ]
            run = subprocess.run(command, cwd=SCRATCH, capture_output=True, text=True, check=False)
            self.assertEqual(run.returncode, 0, run.stdout[-20000:] + run.stderr)
            panics = [line for line in server.complaints if "panicked" in line]
            self.assertEqual(panics, [])


if __name__ == "__main__":
    unittest.main()
