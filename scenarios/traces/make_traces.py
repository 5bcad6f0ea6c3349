#!/usr/bin/env python3
"""Makes the small synthetic traces of this folder: python3 scenarios/traces/make_traces.py

Nothing in them is copied from anybody's trace. Each imitates the published statistics of one public
data set (README.md says which), so that every example runs from a clean clone. The files are functions
of this script alone: one seed a file, gzip without a time stamp. Standard library only.

How each is drawn:
  azure_code    arrivals in bursts (hyper-exponential gaps: CV far above 1), long prompts, short answers
  azure_conv    near-Poisson arrivals (gamma gaps, CV 1.1), prompts of about 1,200 and answers of 210 tokens
  mooncake      long conversations over a few system prompts; a turn's prompt begins with the blocks of
                the turn before it, so that about a third of all 512-token blocks repeat
  burstgpt      gamma gaps with a slow swing of the rate, two models, a few per cent failed calls
  plain         three classes, sessions, priorities and hashes of 16-token blocks
"""

import gzip
import json
import math
import random
from datetime import datetime, timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent


def write(name, text):
    """Writes text; .gz with time stamp 0 and no file name inside, so that the bytes are reproducible."""
    data = text.encode("ascii")
    if name.endswith(".gz"):
        with open(HERE / name, "wb") as file:
            with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0) as packed:
                packed.write(data)
    else:
        (HERE / name).write_bytes(data)


def lognormal(rng, mean, p95, most):
    """Lognormal by mean and 95th percentile (smaller root for sigma), whole, 1 to most."""
    sigma = 1.6448536 - math.sqrt(1.6448536**2 - 2 * math.log(p95 / mean))
    while True:
        value = round(rng.lognormvariate(math.log(mean) - sigma**2 / 2, sigma))
        if 1 <= value <= most:
            return value


def azure_row(start_ticks, prompt, output):
    """One row; Azure's clock has ticks of 100 ns, so seven digits follow the second."""
    seconds, ticks = divmod(start_ticks, 10_000_000)
    moment = datetime(2024, 1, 15, 9, 0, 0) + timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{ticks:07d},{prompt},{output}"


def azure_code(rows=1500):
    rng = random.Random(11)
    lines, time = ["TIMESTAMP,ContextTokens,GeneratedTokens"], 0.25
    for _ in range(rows):
        prompt = lognormal(rng, 2050, 6200, 7437)
        output = lognormal(rng, 28, 90, 800)
        lines.append(azure_row(int(time * 1e7), prompt, output))
        # 19 of 20 gaps are short, the others are the pauses between bursts
        time += rng.expovariate(1 / 0.06) if rng.random() < 0.95 else rng.expovariate(1 / 6.5)
    return "\r\n".join(lines)


def azure_conv(rows=2000):
    rng = random.Random(12)
    lines, time = ["TIMESTAMP,ContextTokens,GeneratedTokens"], 0.5
    shape = 1 / 1.1**2
    for _ in range(rows):
        prompt = lognormal(rng, 1155, 3300, 14050)
        output = lognormal(rng, 211, 560, 1000)
        lines.append(azure_row(int(time * 1e7), prompt, output))
        time += rng.gammavariate(shape, 1 / 5.5 / shape)
    return "\r\n".join(lines)


def mooncake(conversations=320, tools=4):
    rng = random.Random(13)
    fresh = iter(range(1_000_000))
    systems = [[next(fresh) for _ in range(rng.choice([1, 2, 4]))] for _ in range(tools)]
    rows = []
    for _ in range(conversations):
        time = rng.uniform(0, 600_000)
        blocks = list(rng.choice(systems))
        tokens = len(blocks) * 512
        for _ in range(1 + min(7, int(rng.expovariate(1 / 0.8)))):
            tokens += lognormal(rng, 7600, 24000, 60_000)
            while len(blocks) < tokens // 512:
                blocks.append(next(fresh))
            cut = [next(fresh)] if tokens % 512 else []  # an unfinished block is this turn's alone
            output = lognormal(rng, 343, 900, 2000)
            rows.append((int(time), tokens, output, blocks + cut))
            tokens += output
            time += rng.expovariate(1 / 25_000) + 3_000
    rows.sort(key=lambda row: row[0])
    keys = ("timestamp", "input_length", "output_length", "hash_ids")
    return "\n".join(json.dumps(dict(zip(keys, row))) for row in rows) + "\n"


def burstgpt(rows=1600):
    rng = random.Random(14)
    lines = ["Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"]
    time = 5.0
    shape = 0.4  # gaps with a CV of 1.6
    for _ in range(rows):
        model = "GPT-4" if rng.random() < 0.2 else "ChatGPT"
        request = lognormal(rng, 620, 1900, 4000)
        response = 0 if rng.random() < 0.03 else lognormal(rng, 120, 380, 1500)
        kind = "Conversation log" if rng.random() < 0.3 else "API log"
        lines.append(f"{round(time)},{model},{request},{response},{request + response},{kind}")
        rate = 1.2 * (1 + 0.5 * math.sin(2 * math.pi * time / 900))
        time += rng.gammavariate(shape, 1 / rate / shape)
    return "\n".join(lines) + "\n"


def plain(rows=400):
    rng = random.Random(15)
    lines = ["arrival_s,prompt_tokens,output_tokens,class,session,prefix_hashes,priority"]
    time, block = 0.0, 100
    shared = {"chat": list(range(1, 9)), "code": list(range(20, 44)), "embed": []}
    history = {}
    for _ in range(rows):
        name = rng.choices(["chat", "code", "embed"], [6, 3, 1])[0]
        session, hashes = "", list(shared[name])
        if name == "chat":
            session = f"user-{rng.randrange(40)}"
            hashes = history.get(session, hashes)
        prompt = 16 * len(hashes) + lognormal(rng, 300, 900, 4000)
        while len(hashes) < min(prompt // 16, 60):
            hashes = hashes + [block]
            block += 1
        if name == "chat":
            history[session] = hashes if len(hashes) < 60 else list(shared[name])
        output = 0 if name == "embed" else lognormal(rng, 120, 380, 1000)
        ids = " ".join(map(str, hashes))
        priority = {"chat": 0, "code": -1, "embed": 5}[name]
        lines.append(f"{time:.6f},{prompt},{output},{name},{session},{ids},{priority}")
        time += rng.expovariate(4.0)
    return "\n".join(lines) + "\n"


def main():
    write("azure_code_synthetic.csv.gz", azure_code())
    write("azure_conv_synthetic.csv.gz", azure_conv())
    write("mooncake_synthetic.jsonl.gz", mooncake())
    write("burstgpt_synthetic.csv.gz", burstgpt())
    write("plain_synthetic.csv", plain())


if __name__ == "__main__":
    main()
