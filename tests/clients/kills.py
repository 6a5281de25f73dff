"""Kills under load: `cargo xtask kills --times 20`.

Clients ask for answers on the chat page's addresses until the server is killed at some moment. Each time the store must be sound, and hold
everything that a client was told is done: questions, titles, and every word of an answer whose end was seen. Exit code 0 if all
of that held.
"""

import argparse
import http.client
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path

from served import PATIENCE, SCRATCH, Server

# Seconds after which answers of a server that is gone are no longer said to be written (conversations/writers.rs), and a few more.
SILENCE = 20 + 10

CLIENTS = 8
#: The longest time under load, in seconds.
LONGEST = 3.0


class Told:
    """What clients were told is done."""

    def __init__(self):
        self.lock = threading.Lock()
        self.questions = {}
        self.titles = {}
        #: The words of answers whose end was seen.
        self.whole = {}
        #: Answers that were begun; more of each than was seen may be stored.
        self.begun = {}

    def note(self, kind, key, value):
        with self.lock:
            getattr(self, kind)[key] = value


def call(server, method, path, body=None):
    """A request on a connection of its own; gives the response, to be read."""
    connection = http.client.HTTPConnection(server.address, timeout=PATIENCE)
    connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status >= 300:
        raise RuntimeError(f"{method} {path}: {response.status} {response.read(500)!r}")
    return response


def events(response):
    """Kind and data of each event of a stream."""
    kind = None
    for line in response:
        if line.startswith(b"event: "):
            kind = line[7:].decode().strip()
        elif line.startswith(b"data: ") and not line.startswith(b"data: [DONE]"):
            yield kind, json.loads(line[6:])
            kind = None


def converse(server, dice, told):
    """A conversation of a few questions, with what is told noted as it is told."""
    conversation = json.load(call(server, "POST", "/api/conversations", {}))["id"]
    parent = None
    for turn in range(dice.randrange(1, 4)):
        words = f"question {dice.randrange(10**9)} in turn {turn}"
        at = f"/api/conversations/{conversation}"
        question = json.load(call(server, "POST", f"{at}/messages", {"parent": parent, "content": words}))["id"]
        told.note("questions", (conversation, question), words)
        request = {"max_tokens": dice.choice([4, 30, 120]), "ignore_eos": True, "seed": question}
        content, answer = "", None
        for kind, data in events(call(server, "POST", f"{at}/answers", {"parent": question, "request": request})):
            if kind == "answer":
                answer = data["id"]
                told.note("begun", (conversation, answer), "")
            elif kind == "end":
                if data["state"] == "complete" and "not_stored" not in data:
                    told.note("whole", (conversation, answer), content)
            else:
                content += "".join(choice["delta"].get("content") or "" for choice in data["choices"])
        parent = answer
        # Once only: of two new titles the second may be stored without anybody being told.
        if turn == 0 and dice.random() < 0.3:
            title = f"title {dice.randrange(10**9)}"
            call(server, "PATCH", at, {"title": title}).read()
            told.note("titles", conversation, title)


def load(server, seed, told, over):
    dice = random.Random(seed)
    while not over.is_set():
        try:
            converse(server, dice, told)
        except (OSError, http.client.HTTPException, ValueError):
            # It was killed: the connection broke off, or what had come of a reply is no JSON.
            return


def check_file(store):
    """The file itself is sound. On a copy, so that the server finds what was left to it."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        for file in [store, store.with_name(store.name + "-wal")]:
            if file.exists():
                shutil.copy(file, folder)
        copy = sqlite3.connect(Path(folder) / store.name)
        faults = [row[0] for row in copy.execute("PRAGMA integrity_check") if row[0] != "ok"]
        faults += [f"a reference leads nowhere: {row}" for row in copy.execute("PRAGMA foreign_key_check")]
        copy.close()
    return faults


def check_told(server, told, at_the_end=False):
    """The next server has everything that clients of all earlier ones were told is done."""
    faults, read = [], {}

    def messages(conversation):
        if conversation not in read:
            whole = json.load(call(server, "GET", f"/api/conversations/{conversation}"))
            read[conversation] = whole, {message["id"]: message for message in whole["messages"]}
        return read[conversation]

    # The index of words knows the latest questions too.
    for (conversation, id), words in list(told.questions.items())[-10:]:
        number = words.split()[1]
        found = json.load(call(server, "GET", f"/api/conversations?search={number}"))["conversations"]
        if conversation not in [one["id"] for one in found]:
            faults.append(f"question {id} is not found by its words")
    for (conversation, id), words in told.questions.items():
        message = messages(conversation)[1].get(id)
        if message is None or message["content"] != words:
            faults.append(f"question {id} is lost or changed: {message}")
    for (conversation, id), words in told.whole.items():
        message = messages(conversation)[1].get(id)
        # A store holds no zero: PostgreSQL could not.
        words = words.replace("\0", "\ufffd")
        if message is None or message["state"] != "complete" or message["content"] != words:
            faults.append(f"answer {id} was seen whole and is not stored so: {message}")
    for conversation, id in told.begun.keys() - told.whole.keys():
        message = messages(conversation)[1].get(id)
        # What the server before was writing is its own until it has been silent for long: another one might share the store.
        if message is None or (at_the_end and message["state"] == "streaming"):
            faults.append(f"answer {id} was begun and is lost, or still said to be written: {message}")
    for conversation, title in told.titles.items():
        if messages(conversation)[0]["title"] != title:
            faults.append(f"conversation {conversation} is not called {title}")
    return faults


def round_of(number, store, told):
    """Load for a while, and the kill; gives how many seconds it was."""
    over = threading.Event()
    dice = random.Random(number)
    with Server("--conversations", str(store)) as server:
        faults = check_told(server, told)
        threads = [threading.Thread(target=load, args=(server, 1000 * number + i, told, over), daemon=True) for i in range(CLIENTS)]
        for thread in threads:
            thread.start()
        seconds = dice.uniform(0.1, LONGEST)
        time.sleep(seconds)
        # SIGKILL: nothing in the server runs after it.
        server.kill()
        over.set()
        for thread in threads:
            thread.join()
        faults += [f"the server's log: {line}" for line in server.complaints if "panicked" in line]
    return seconds, faults + check_file(store)


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--times", type=int, default=20)
    asked = words.parse_args()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    told, failed = Told(), False
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        store = Path(folder) / "conversations.db"
        print(f"{'kill':>5} {'after s':>8} {'questions':>10} {'whole':>7} {'cut':>5} {'MiB':>6}  found", flush=True)
        for number in range(1, asked.times + 1):
            seconds, faults = round_of(number, store, told)
            cut = len(told.begun) - len(told.whole)
            mib = store.stat().st_size / 2**20 if store.exists() else 0
            print(
                f"{number:5} {seconds:8.2f} {len(told.questions):10} {len(told.whole):7} {cut:5} {mib:6.1f}  {'; '.join(faults) or 'sound'}",
                flush=True,
            )
            failed |= bool(faults)
        with Server("--conversations", str(store)) as server:
            time.sleep(SILENCE)
            last = check_told(server, told, at_the_end=True)
        print("At the end: " + ("; ".join(last) or "everything is there."))
    cut = len(told.begun) - len(told.whole)
    if not told.whole or (asked.times > 3 and not cut):
        print("Nothing was proved: no answer was seen whole, or no kill fell into one. Give it more time.")
        return 1
    return 1 if failed or last else 0


if __name__ == "__main__":
    sys.exit(main())
