"""A model that is trained in seconds, and `gigaro serve` on it: what the programs beside this file talk to.

`cargo xtask clients` says by `GIGARO` which binary it is and by `GIGARO_SCRATCH` where files may be left. The standard library is
enough here, so that `soak.py` and `kills.py` run on any Python.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
GIGARO = os.environ.get("GIGARO", str(ROOT / "target/release/gigaro"))
SCRATCH = pathlib.Path(os.environ.get("GIGARO_SCRATCH", ROOT / "target/clients/scratch"))
RECIPE = HERE / "recipe.toml"
#: As in the recipe.
CONTEXT = 512
#: The name under which the model is served.
MODEL = "model"
#: How long anything may take that takes no time; the machine may be busy with other things.
PATIENCE = 120.0


def gigaro(*words):
    """Runs the binary to its end; gives what it says."""
    run = subprocess.run([GIGARO, *words], cwd=SCRATCH, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"gigaro {' '.join(words)} failed: {run.stderr}")
    return run.stdout


def gigaro_json(*words):
    """The object that ends what a command says under `--json`."""
    return json.loads(gigaro(*words, "--json").splitlines()[-1])


def trained(name=MODEL, recipe=RECIPE, command="speedrun"):
    """The folder of a model, trained now unless this very binary has done so."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    stamp = SCRATCH / f"{name}.trained-by"
    binary = os.stat(GIGARO)
    made_by = f"{binary.st_size} {binary.st_mtime_ns} {recipe.read_text()}"
    if not stamp.is_file() or stamp.read_text() != made_by:
        shutil.rmtree(SCRATCH / name, ignore_errors=True)
        gigaro(command, "--recipe", str(recipe), "--out", name)
        stamp.write_text(made_by)
    return SCRATCH / name


class Server:
    """`gigaro serve` on a free port, ready to answer; `before` is a command that starts it. Use it with `with`."""

    def __init__(self, *words, models=None, before=()):
        folders = models or [trained()]
        command = [*before, GIGARO, "serve", *map(str, folders), "--port", "0", *words]
        if "--conversations" not in words:
            command.append("--no-page")
        self.process = subprocess.Popen(
            command, cwd=SCRATCH, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.complaints = []
        self._readers = []
        self._read_on(self._keep_complaints)
        self.address = self._wait_until_ready(len(folders))

    def _read_on(self, work):
        """What it says must not fill its pipes."""
        self._readers.append(threading.Thread(target=work, daemon=True))
        self._readers[-1].start()

    def _keep_complaints(self):
        for line in self.process.stderr:
            self.complaints.append(line.rstrip())

    def _wait_until_ready(self, models):
        address = None
        for line in self.process.stdout:
            if line.startswith("Listening on http://"):
                address = line.removeprefix("Listening on http://").split("/")[0]
            models -= " is ready: " in line
            if models == 0:
                self._read_on(self.process.stdout.read)
                return address
        self._ended()
        raise RuntimeError("gigaro serve did not get ready: " + " ".join(self.complaints))

    @property
    def url(self):
        return f"http://{self.address}"

    def get(self, path):
        """What a GET answers, as text."""
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as answer:
            return answer.read().decode()

    def open(self, path, body):
        """What a POST of JSON answers, as a file to be read."""
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        return urllib.request.urlopen(asked, timeout=PATIENCE)

    def post(self, path, body):
        """The same as text."""
        with self.open(path, body) as answer:
            return answer.read().decode()

    def metric(self, name):
        """The sum of a counter or gauge over its labels."""
        lines = (line.rsplit(" ", 1) for line in self.get("/metrics").splitlines() if line.startswith(name + "{"))
        return sum(float(value) for _, value in lines)

    def resident_mib(self):
        """Memory that the process has from the system; None where that cannot be read."""
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) / 1024
        return None

    def kill(self):
        """Ends it at once, whatever it is doing."""
        self.process.kill()
        self._ended()

    def drain(self):
        """Asks it to end as an operator would; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def _ended(self):
        code = self.process.wait(timeout=PATIENCE)
        for reader in self._readers:
            reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def until(holds):
    """Waits until something is so."""
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("it never happens")
        time.sleep(0.02)
