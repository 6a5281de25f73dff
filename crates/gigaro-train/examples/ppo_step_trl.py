"""One PPO step of TRL 1.12.0, its last release with PPOTrainer, on the work of gigaro-train's example `ppo_step`.

    python crates/gigaro-train/examples/ppo_step_trl.py [--steps 7] [--warmup 1] [--shared]

Prints one line of JSON: medians over the steps after the warm-up.

seconds_per_step  from the end of one step to the end of the next
rollout_s         TRL's batch_generation: HF generate with its KV cache, 64 answers at once
scoring_s         from there to the first training forward: log-probabilities, reference, values, reward, GAE
update_s          from there to the end of the step: passes in minibatches, AdamW, TRL's own metrics
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
import transformers
import trl
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import nn
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    TrainerCallback,
)
from transformers.modeling_outputs import BaseModelOutput
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

VOCAB, CONTEXT, LAYERS, HEADS, WIDTH = 4096, 64, 4, 8, 256
PROMPTS, PROMPT_TOKENS, ANSWER_TOKENS = 64, 20, 20


def config(**more):
    return GPT2Config(
        vocab_size=VOCAB, n_positions=CONTEXT, n_layer=LAYERS, n_head=HEADS, n_embd=WIDTH,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        bos_token_id=None, eos_token_id=None, **more,
    )


def tokenizer():
    """Ids 0..4095 and, outside of what the model can write, 4096 for padding and for the end."""
    words = {f"t{i}": i for i in range(VOCAB)} | {"<pad>": VOCAB}
    t = Tokenizer(WordLevel(words, unk_token="t0"))
    t.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=t, pad_token="<pad>", eos_token="<pad>", unk_token="t0", padding_side="left"
    )


class FirstIsOdd(nn.Module):
    """In the form TRL asks for, a backbone and a `score`: 1 where the first token of the answer is odd."""

    base_model_prefix = "backbone"

    class Ids(nn.Module):
        def forward(self, input_ids, **_):
            return BaseModelOutput(hidden_states=(input_ids,))

    def __init__(self):
        super().__init__()
        self.backbone = self.Ids()

    def score(self, ids):
        odd = (ids[:, PROMPT_TOKENS] % 2).float()
        return odd[:, None, None].expand(-1, ids.shape[1], 1)


class Clock(TrainerCallback):
    def __init__(self):
        self.marks, self.steps, self.updates, self.others, self.load = {}, [], 0, [], busy()

    def mark(self, name):
        self.marks.setdefault(name, time.perf_counter())

    def count(self):
        self.updates += 1

    def start(self):
        self.marks, self.load = {}, busy()
        self.mark("start")

    def on_train_begin(self, args, state, control, **_):
        self.start()

    def on_step_end(self, args, state, control, **_):
        self.mark("end")
        m = self.marks
        assert self.updates == args.num_mini_batches * args.num_ppo_epochs, self.updates
        self.updates = 0
        (all0, own0), (all1, own1) = self.load, busy()
        self.others.append((all1 - all0 - (own1 - own0)) / (m["end"] - m["start"]))
        self.steps.append({
            "seconds_per_step": m["end"] - m["start"],
            "rollout_s": m["rolled"] - m["roll"],
            "scoring_s": m["update"] - m["rolled"],
            "update_s": m["end"] - m["update"],
        })
        self.start()


def with_clock(clock):
    """Puts marks around what TRL calls; changes nothing that it computes."""
    generation, forward = ppo_trainer.batch_generation, ppo_trainer.forward

    def timed_generation(*args, **kwargs):
        clock.mark("roll")
        out = generation(*args, **kwargs)
        clock.mark("rolled")
        assert out[0].shape == (PROMPTS, PROMPT_TOKENS + ANSWER_TOKENS), out[0].shape
        return out

    def timed_forward(model, *args, **kwargs):
        if isinstance(model, ppo_trainer.PolicyAndValueWrapper):
            clock.mark("update")
        return forward(model, *args, **kwargs)

    ppo_trainer.batch_generation, ppo_trainer.forward = timed_generation, timed_forward


def busy():
    """Seconds that all processors together have worked since the machine started, and this process's part."""
    with open("/proc/stat") as f:
        ticks = [int(x) for x in f.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK"), time.process_time()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=7, help="steps that count")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--shared", action="store_true",
                        help="let the value model use the policy's trunk (TRL still runs it once for each)")
    parser.add_argument("--verbose", action="store_true", help="print TRL's metrics and every step's times")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    transformers.logging.set_verbosity_error()

    torch.manual_seed(1)
    policy = GPT2LMHeadModel(config())
    reference = GPT2LMHeadModel(config())
    reference.load_state_dict(policy.state_dict())
    value = GPT2ForSequenceClassification(config(num_labels=1))
    value.score.weight.data.zero_()  # values start at 0, as in the Rust example
    if a.shared:
        value.transformer = policy.transformer

    prompts = [[(i * 31 + k * 7) % VOCAB for k in range(PROMPT_TOKENS)] for i in range(256)]
    data = Dataset.from_dict({"input_ids": prompts})
    clock = Clock()
    with_clock(clock)
    with tempfile.TemporaryDirectory() as out:
        args = PPOConfig(
            output_dir=out, use_cpu=True, bf16=False, gradient_checkpointing=False, seed=1,
            # A step of 64 answers in 4 minibatches of 16, each with an update. (With 16 here and
            # gradient_accumulation_steps=4 accelerate would make but one update of the four.)
            per_device_train_batch_size=PROMPTS, gradient_accumulation_steps=1,
            num_mini_batches=4, num_ppo_epochs=1,
            total_episodes=PROMPTS * (a.warmup + a.steps),
            response_length=ANSWER_TOKENS, stop_token=None, temperature=1.0,
            local_rollout_forward_batch_size=64,
            kl_coef=0.02, kl_estimator="k1", gamma=1.0, lam=0.95, cliprange=0.2, cliprange_value=0.2,
            vf_coef=0.1, whiten_rewards=False,
            learning_rate=1e-5, lr_scheduler_type="constant", weight_decay=0.0,
            num_sample_generations=0, report_to="none", save_strategy="no", logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = PPOTrainer(
            args=args, processing_class=tokenizer(), model=policy, ref_model=reference,
            reward_model=FirstIsOdd(), value_model=value, train_dataset=data,
            eval_dataset=data.select(range(8)), callbacks=[clock],
        )
        if not a.verbose:
            trainer.remove_callback(PrinterCallback)
        assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
        trainer.optimizer.optimizer.register_step_post_hook(lambda *_: clock.count())
        trainer.accelerator.print = lambda *_: None
        trainer.train()

    if a.verbose:
        for s, o in zip(clock.steps, clock.others):
            print({k: round(v, 4) for k, v in s.items()} | {"cores_used_by_others": round(o, 2)})
    counted_steps = clock.steps[a.warmup:]
    others = max(clock.others[a.warmup:])
    if others > 0.1:
        print(f"warning: other processes used up to {others:.2f} cores in a step", file=sys.stderr)
    result = {k: round(statistics.median(s[k] for s in counted_steps), 4) for k in clock.steps[0]}
    result |= {"trl": trl.__version__, "torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
