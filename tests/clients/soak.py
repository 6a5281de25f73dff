"""A crowd for a long time: `cargo xtask soak --minutes 30 --clients 64`.

Every third client hangs up in the middle of its replies. All others must get every reply whole, the same for the same seed whoever else
is there; memory must stay flat; and at the end the server's own counts must be those of the clients. Exit code 0 if all of that held.
"""

import argparse
import collections
import http.client
import json
import random
import statistics
import sys
import threading
import time

from served import CONTEXT, MODEL, PATIENCE, Server, until

#: Rows of the table.
ROWS = 20
#: Memory may grow by so much after the first fifth: what the system's allocator keeps is not the same twice.
SLACK_MIB, SLACK_SHARE = 16.0, 0.05
WORDS = "the capital of Estia is a city where animals read books about rivers and count to seven".split()


class Tally:
    """What all clients have seen, and what was wrong with it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.errors = []
        self.words_of_seed = {}

    def count(self, what, n=1):
        with self.lock:
            self.counts[what] += n

    def fail(self, sentence):
        with self.lock:
            self.counts["errors"] += 1
            if len(self.errors) < 20:
                self.errors.append(sentence)

    def check_same(self, request, words):
        """The same request with the same seed has the same reply."""
        with self.lock:
            before = self.words_of_seed.setdefault(request, words)
        if before != words:
            self.fail(f"another reply to the same request: {request}")


def request_of(dice):
    """A path and a body, long and short, streamed and whole; few enough different ones that they come again."""
    seed = dice.randrange(200)
    own = random.Random(seed)
    words = " ".join(own.choices(WORDS, k=own.choice([2, 8, 30, 90])))
    body = {"model": MODEL, "seed": seed, "max_tokens": own.choice([1, 8, 40, 120]), "temperature": own.choice([0, 0.7, 1]), "ignore_eos": True}
    body["stream"] = own.random() < 0.7
    if own.random() < 0.5:
        return "/v1/chat/completions", body | {"messages": [{"role": "user", "content": words}]}
    return "/v1/completions", body | {"prompt": words}


def text_of(choice):
    """The words of a choice, whole or in part, in either of the API's forms."""
    part = choice.get("message") or choice.get("delta") or choice
    return part.get("content") or part.get("text") or ""


def read_stream(response, after):
    """The words of a stream up to `[DONE]`, or None if it was left after so many lines."""
    words, lines = "", 0
    for line in response:
        if not line.startswith(b"data: "):
            continue
        data = line[6:].strip()
        if data == b"[DONE]":
            return words
        lines += 1
        if after is not None and lines >= after:
            return None
        event = json.loads(data)
        if "error" in event:
            raise RuntimeError(event["error"]["message"])
        words += "".join(map(text_of, event["choices"]))
    raise RuntimeError("a stream ended without [DONE]")


def ask(server, dice, tally, leaves):
    """One request to its end, or to the middle of its reply."""
    path, body = request_of(dice)
    if leaves:
        body |= {"stream": True, "max_tokens": CONTEXT // 3}
    connection = http.client.HTTPConnection(server.address, timeout=10 * PATIENCE)
    try:
        tally.count("asked")
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        if leaves and dice.random() < 0.3:
            tally.count("left")
            return
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"status {response.status}: {response.read(500)!r}")
        if body["stream"]:
            words = read_stream(response, dice.randrange(1, 60) if leaves else None)
        else:
            words = "".join(map(text_of, json.load(response)["choices"]))
        if words is None:
            tally.count("left")
            return
        tally.count("answered")
        if not leaves:
            tally.check_same(json.dumps([path, body]), words)
    finally:
        connection.close()


def client(server, number, end, tally):
    """Asks until it is over. Every third one leaves."""
    dice = random.Random(1000 + number)
    while time.monotonic() < end:
        try:
            ask(server, dice, tally, leaves=number % 3 == 0)
        except Exception as error:  # whatever it is, it is what this program is to find
            tally.fail(f"client {number}: {type(error).__name__}: {error}")
            if server.process.poll() is not None:
                return


def watch(server, tally, start, end):
    """Prints the table; gives the memory at each time."""
    memory = []
    print(f"{'seconds':>8} {'asked':>8} {'answered':>9} {'left':>7} {'errors':>7} {'running':>8} {'MiB':>8}", flush=True)
    step, next_row = (end - start) / ROWS, start
    while (now := time.monotonic()) < end and server.process.poll() is None:
        memory.append((now - start, server.resident_mib()))
        if now >= next_row:
            next_row += step
            counts, running = tally.counts, server.metric("gigaro_requests_running")
            print(
                f"{now - start:8.0f} {counts['asked']:8} {counts['answered']:9} {counts['left']:7} {counts['errors']:7}"
                f" {running:8.0f} {memory[-1][1] or 0:8.1f}",
                flush=True,
            )
        time.sleep(min(1.0, step / 4))
    return memory


def check_memory(memory, tally):
    """Compares the second fifth of the time with the last."""
    known = [mib for _, mib in memory if mib is not None]
    fifth = len(known) // 5
    if fifth == 0:
        print("Memory cannot be read on this system, so it is not judged.")
        return
    early, late = statistics.median(known[fifth : 2 * fifth]), statistics.median(known[-fifth:])
    print(f"Memory: {early:.1f} MiB in the second fifth of the time, {late:.1f} MiB in the last.")
    if late > early * (1 + SLACK_SHARE) + SLACK_MIB:
        tally.fail(f"memory grew from {early:.1f} to {late:.1f} MiB")


def check_counts(server, tally):
    """The server has ended each request that it was asked, and none badly."""
    until(lambda: server.metric("gigaro_requests_running") + server.metric("gigaro_requests_waiting") == 0)
    outcomes = {}
    for line in server.get("/metrics").splitlines():
        if line.startswith("gigaro_requests_total{"):
            labels, value = line.rsplit(" ", 1)
            outcome = labels.split('outcome="')[1].split('"')[0]
            outcomes[outcome] = outcomes.get(outcome, 0) + int(float(value))
    print("The server counts: " + ", ".join(f"{name} {n}" for name, n in sorted(outcomes.items())) + ".")
    counts = tally.counts
    whole = outcomes.get("stop", 0) + outcomes.get("length", 0)
    if outcomes.get("failed") or outcomes.get("refused"):
        tally.fail("the server failed or refused requests")
    if whole < counts["answered"]:
        tally.fail(f"{counts['answered']} replies were read, but only {whole} written")
    # Whoever leaves may do so before the request is read, and after the reply is written.
    if not counts["asked"] - counts["left"] <= sum(outcomes.values()) <= counts["asked"]:
        tally.fail(f"{counts['asked']} requests were sent, and {sum(outcomes.values())} ended")


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--minutes", type=float, default=30)
    words.add_argument("--clients", type=int, default=64)
    asked = words.parse_args()
    tally = Tally()
    # Nobody is to be refused for having waited while the whole machine stood still.
    with Server("--queue-seconds", "3600", "--queue-len", str(2 * asked.clients)) as server:
        start = time.monotonic()
        end = start + 60 * asked.minutes
        clients = [threading.Thread(target=client, args=(server, i, end, tally), daemon=True) for i in range(asked.clients)]
        for thread in clients:
            thread.start()
        memory = watch(server, tally, start, end)
        for thread in clients:
            thread.join()
        if server.process.poll() is not None:
            tally.fail(f"the server ended with {server.process.returncode}: {' '.join(server.complaints[-5:])}")
        else:
            check_memory(memory, tally)
            check_counts(server, tally)
            if server.drain() != 0:
                tally.fail("the server did not end well")
        for line in server.complaints:
            if "panicked" in line:
                tally.fail(f"the server's log: {line}")
    counts = tally.counts
    accepted = counts["asked"] - counts["left"]
    print(f"{counts['asked']} requests, {counts['left']} left by their clients; of the other {accepted}, {counts['answered']} were answered whole.")
    for error in tally.errors:
        print(f"ERROR: {error}")
    return 1 if counts["errors"] or counts["answered"] != accepted or not counts["left"] else 0


if __name__ == "__main__":
    sys.exit(main())
