"""EleutherAI's lm-evaluation-harness through the API says what `gigaro evaluate` says, item by item.

The harness asks a served model as it would ask any other: `local-completions`, which tokenises through the server, and
`local-chat-completions`. The questions are the project's own held-out ones about the small world.
"""

import contextlib
import json
import logging
import os
import unittest

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import served

os.environ["HF_HOME"] = str(served.SCRATCH / "huggingface")

import lm_eval  # noqa: E402 - it reads the variables above when it is imported
import yaml  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

#: Wrong answers beside each right one.
RIVALS = 3


def setUpModule():
    global server, exam, files
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    server = served.Server("--context", str(served.CONTEXT))
    exam = served.gigaro_json("evaluate", served.MODEL, "--answers")["answers"]
    choices, words = [], []
    for number, item in enumerate(exam):
        others = sorted({other["truth"] for other in exam if other["truth"] != item["truth"]})
        rivals = [others[(number * 7 + i * 13) % len(others)] for i in range(RIVALS)]
        right = number % (RIVALS + 1)
        texts = [*rivals[:right], item["truth"], *rivals[right:]]
        choices.append({"question": item["question"], "choices": texts, "answer": right})
        words.append({"question": item["question"], "answer": item["truth"]})
    files = {name: written(name, rows) for name, rows in [("choices", choices), ("words", words), ("chat", exam)]}


def tearDownModule():
    server.kill()


def written(name, rows):
    path = served.SCRATCH / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def harness(name, kind, path, **more):
    """The samples of one task in the order of its file, and its figures."""
    config = yaml.safe_load((served.HERE / f"tasks/{name}.yaml").read_text())
    config["dataset_kwargs"] = {"data_files": {"test": str(files[name])}}
    arguments = {"model": served.MODEL, "base_url": server.url + path, "max_length": served.CONTEXT, **more}
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        found = lm_eval.simple_evaluate(
            model=kind,
            model_args=arguments,
            tasks=[config],
            # Not the thousands of tasks that come with the harness, which take seconds to list.
            task_manager=TaskManager(include_defaults=False),
            log_samples=True,
            bootstrap_iters=0,
            apply_chat_template=kind == "local-chat-completions",
        )
    samples = sorted(found["samples"][f"gigaro_{name}"], key=lambda sample: sample["doc_id"])
    return samples, found["results"][f"gigaro_{name}"]


class Harness(unittest.TestCase):
    def check_choices(self, **more):
        own = served.gigaro_json("evaluate", served.MODEL, "--tasks", str(files["choices"]), "--answers")
        samples, figures = harness("choices", "local-completions", "/v1/completions", **more)
        self.assertEqual(len(samples), len(exam))
        for sample, answer in zip(samples, own["answers"], strict=True):
            self.assertEqual(sample["doc"]["question"], answer["question"])
            theirs = [float(resp[0][0]) for resp in sample["resps"]]
            self.assertEqual(theirs, answer["log_likelihoods"])
            self.assertEqual(sample["acc"], float(answer["right"]))
            self.assertEqual(sample["acc_norm"], float(answer["right_for_length"]))
        self.assertEqual(figures["acc,none"], own["acc"])
        self.assertEqual(figures["acc_norm,none"], own["acc_norm"])

    def test_choices_have_the_same_log_likelihoods_to_the_last_bit(self):
        self.check_choices()

    def test_so_they_have_in_batches_and_many_at_a_time(self):
        self.check_choices(batch_size=8)
        self.check_choices(num_concurrent=8)

    def test_words_are_the_same(self):
        own = served.gigaro_json("evaluate", served.MODEL, "--tasks", str(files["words"]), "--answers")
        samples, figures = harness("words", "local-completions", "/v1/completions", batch_size=4)
        self.assertEqual([sample["resps"][0][0] for sample in samples], [answer["answer"] for answer in own["answers"]])
        self.assertEqual(figures["exact_match,stripped"], own["exact_match"])

    def test_answers_in_a_conversation_are_the_same(self):
        samples, _ = harness("chat", "local-chat-completions", "/v1/chat/completions", num_concurrent=4)
        self.assertEqual([sample["resps"][0][0] for sample in samples], [item["answer"] for item in exam])


if __name__ == "__main__":
    unittest.main()
