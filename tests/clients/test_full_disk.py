"""A full disk: what cannot be kept is refused in a sentence, what need not be kept is answered, and all is well when there is space again.

The disk is a small file system in memory that only the server sees, so Linux is needed, and leave to make one.
"""

import json
import os
import shutil
import subprocess
import unittest
import urllib.error

from served import SCRATCH, Server, gigaro

MOUNT = 'mount -t tmpfs -o size=600k tmpfs "$0" && exec "$@"'


def setUpModule():
    global disk
    disk = SCRATCH / "disk"
    disk.mkdir(parents=True, exist_ok=True)
    sentence = "no file system can be mounted here: this needs Linux with user namespaces, or root"
    able = shutil.which("unshare") and subprocess.run([*small_disk(), "true"], capture_output=True, check=False).returncode == 0
    if not able:
        if os.environ.get("CI"):
            raise RuntimeError(sentence)
        raise unittest.SkipTest(sentence)


def small_disk():
    """The beginning of a command that sees a small disk in the folder."""
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, str(disk)]


class FullDisk(unittest.TestCase):
    def setUp(self):
        self.server = Server("--conversations", str(disk / "conversations.db"), before=small_disk())
        self.addCleanup(self.server.kill)
        # Its disk as it sees it.
        self.inside = f"/proc/{self.server.process.pid}/root{disk}"

    def fill(self):
        """Leaves no byte free."""
        with open(f"{self.inside}/filler", "wb", buffering=0) as filler:
            block = 4096
            while block:
                try:
                    filler.write(b"x" * block)
                except OSError:
                    block //= 2

    def ask(self, at, words):
        return json.loads(self.server.post(f"{at}/messages", {"content": words}))["id"]

    def answer(self, at, question):
        """The last event of an answer."""
        events = self.server.post(f"{at}/answers", {"parent": question, "request": {"max_tokens": 20, "ignore_eos": True}})
        return json.loads(events.strip().splitlines()[-1].removeprefix("data: "))

    def test_what_cannot_be_kept_is_refused_and_the_rest_goes_on(self):
        conversation = json.loads(self.server.post("/api/conversations", {"title": "before"}))["id"]
        at = f"/api/conversations/{conversation}"
        question = self.ask(at, "Is there space?")
        self.fill()
        # A write may still find space in pages that are there; a long one does not.
        with self.assertRaises(urllib.error.HTTPError) as refused:
            self.ask(at, "long " * 50_000)
        self.assertEqual(refused.exception.code, 503)
        error = json.loads(refused.exception.read())["error"]
        self.assertRegex(error["message"], "cannot be kept.*(full|space)")
        self.assertNotIn(str(disk), error["message"])
        refused.exception.close()
        # The API keeps nothing and does not notice; what was kept can be read.
        self.assertIn("choices", self.server.post("/v1/completions", {"prompt": "The", "max_tokens": 5}))
        self.assertEqual(json.loads(self.server.get(at))["messages"][0]["content"], "Is there space?")
        os.unlink(f"{self.inside}/filler")
        end = self.answer(at, question)
        self.assertEqual((end["state"], end.get("not_stored")), ("complete", None))
        self.assertEqual([line for line in self.server.complaints if "panicked" in line], [])

    def test_an_answer_that_cannot_be_kept_is_still_told_to_whoever_reads_it(self):
        conversation = json.loads(self.server.post("/api/conversations", {}))["id"]
        at = f"/api/conversations/{conversation}"
        question = self.ask(at, "Go on.")
        request = {"max_tokens": 450, "ignore_eos": True, "top_logprobs": 20}
        with self.server.open(f"{at}/answers", {"parent": question, "request": request}) as events:
            self.assertIn(b"event: answer", events.readline())
            self.fill()
            last = events.read().strip().splitlines()[-1]
        end = json.loads(last.removeprefix(b"data: "))
        self.assertEqual(end["state"], "complete")
        self.assertIn("cannot be kept", end["not_stored"])


class NoSpaceAtAll(unittest.TestCase):
    def test_a_server_that_cannot_make_its_store_says_so_and_ends(self):
        missing = SCRATCH / "nowhere" / "conversations.db"
        with self.assertRaises(RuntimeError) as refused:
            gigaro("serve", "model", "--port", "0", "--conversations", str(missing))
        self.assertIn("nowhere", str(refused.exception))
        self.assertNotIn("panicked", str(refused.exception))


if __name__ == "__main__":
    unittest.main()
