"""A trainer for tests: it behaves as its seed says, and leaves the base model as it is.

1: trains. 2: crashes midway. 3: hands out garbage. 4: says why it gives up. 5: floods its progress. 6: trains, but in its first life only
up to the first checkpoint. Its first argument is the base model's weights, its second a folder where it leaves a mark.
"""

import json
import os
import pathlib
import struct
import sys
import time

order = json.loads(sys.stdin.buffer.readline())
count = order["training_examples"] + order["validation_examples"]
lines = [sys.stdin.buffer.readline() for _ in range(count)]
state = sys.stdin.buffer.read(order["checkpoint_bytes"])
base = pathlib.Path(sys.argv[1]).read_bytes()
folder = pathlib.Path(sys.argv[2])
seed = order["seed"]


def say(event, **more):
    print(json.dumps({"event": event, **more}), file=sys.stderr, flush=True)


def head_of(file):
    (length,) = struct.unpack("<Q", file[:8])
    return json.loads(file[8 : 8 + length]), file[8 + length :]


def hand_out(checkpoint=None):
    head, body = head_of(base)
    head["__metadata__"] = {} if checkpoint is None else {"checkpoint": json.dumps(checkpoint)}
    text = json.dumps(head).encode()
    sys.stdout.buffer.write(struct.pack("<Q", len(text)) + text + body)
    sys.stdout.buffer.flush()


assert all(json.loads(line)["messages"] for line in lines), "not every line is an example"
begin = 0
if state:
    begin = json.loads(head_of(state)[0]["__metadata__"]["checkpoint"])["step"]
with (folder / "lives").open("a") as lives:
    lives.write(f"{os.getpid()} {begin}\n")
steps = order["n_epochs"]
for step in range(begin + 1, steps + 1):
    progress = {"step": step, "total_steps": steps, "train_loss": 1 / step, "train_accuracy": 0.5, "trained_tokens": 10 * step}
    if order["validation_examples"]:
        progress["valid_loss"] = 2 / step
    say("progress", **progress)
    if seed == 2:
        os.abort()
    if seed == 3:
        sys.stdout.buffer.write(b"garbage in place of weights")
        sys.exit(0)
    if seed == 4:
        say("error", message="there is no room for this model")
        sys.exit(1)
    while seed == 5:
        say("progress", step=step)
    if step < steps:
        hand_out(progress)
    if seed == 6 and begin == 0 and step == 2:
        time.sleep(600)
hand_out()
