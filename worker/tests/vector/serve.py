#!/usr/bin/env python3
"""Serves a net from the files of models/, as worker/MODELS.md specifies them. Shares no code with Secateur. Needs numpy.

    serve.py PREPARATION.json NET.safetensors ROWS.csv [INPUTS.json]     prints a probability for each row

With a column `probability` in ROWS.csv, says how far the probabilities are from it and ends with 1 if that is more than 1e-6.
"""
import bisect
import csv
import datetime
import json
import math
import re
import struct
import sys

import numpy

TYPES = {"F32": numpy.float32, "I8": numpy.int8, "U8": numpy.uint8}
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")


def safetensors(path):
    """The tensors and the metadata of a file."""
    with open(path, "rb") as file:
        content = file.read()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    about = header.pop("__metadata__", {})
    body = content[8 + length :]
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = numpy.frombuffer(body[begin:end], TYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors, about


def plain(text):
    number = float(text) if PLAIN.match(text) else None
    return number if number is not None and math.isfinite(number) else None


def spelled(text, decimal):
    """A number as people write it."""
    number = plain(text) if decimal == "." else None
    if number is not None:
        return number
    digits = re.sub(r"[^0-9.,eE]", "", text)
    thousands = "," if decimal == "." else "."
    number = plain(digits.replace(thousands, "").replace(decimal, "."))
    negative = "-" in text or "\u2212" in text or text.strip().startswith("(")
    return None if number is None else -number if negative else number


def days(text, form):
    """Days since 1970 of a date without a time of day."""
    names = {"Y": r"(?P<Y>\d{4})", "y": r"(?P<y>\d\d)", "m": r"(?P<m>\d\d?)", "d": r"(?P<d>\d\d?)"}
    names |= {"b": r"(?P<b>[A-Za-z]+)\.?", "q": r"(?P<q>[1-4])", "a": r"[A-Za-z]{2,}"}
    pattern = re.sub(r"%(.)|(.)", lambda part: names[part[1]] if part[1] else re.escape(part[2]), form)
    found = re.fullmatch(pattern, text, re.IGNORECASE)
    if not found:
        return None
    found = found.groupdict()
    short = int(found.get("y") or 0)
    year = int(found["Y"]) if "Y" in found else short + (2000 if short < 69 else 1900)
    month = int(found.get("m") or 1)
    if found.get("b"):
        month = 1 + MONTHS.index(found["b"][:3].lower())
    if found.get("q"):
        month = 3 * int(found["q"]) - 2
    return (datetime.date(year, month, int(found.get("d") or 1)) - datetime.date(1970, 1, 1)).days


def share(quantiles, value):
    """The share of train values below a value, by their quantiles."""
    below, up_to, last = bisect.bisect_left(quantiles, value), bisect.bisect_right(quantiles, value), len(quantiles) - 1
    if below < up_to:
        return (below + up_to - 1) / 2 / last
    if below == 0 or below > last:
        return min(below, last) / last
    low, high = quantiles[below - 1], quantiles[below]
    return (below - 1 + (value / 2 - low / 2) / (high / 2 - low / 2)) / last


def features(column, cell):
    """The features of a cell."""
    reading, encoding = column.get("reading", {}), column["encoding"]
    cell, code = cell.strip(), None
    if cell in reading.get("missing", []):
        cell = ""
    for candidate in reading.get("codes") or []:
        is_number = plain(candidate) is not None and plain(candidate) == plain(cell)
        if cell == candidate or is_number:
            cell, code = "", candidate
            break
    if encoding["kind"] == "constant":
        return []
    if encoding["kind"] == "categorical":
        levels, pooled = encoding["levels"], encoding["pooled"] > 0
        row = [0.0] * (len(levels) + pooled + encoding["missing"])
        if cell in levels:
            row[levels.index(cell)] = 1.0
        elif cell == "" and encoding["missing"]:
            row[-1] = 1.0
        elif pooled:
            row[len(levels)] = 1.0
        return row
    value = None
    if cell:
        kind = reading.get("kind")
        if isinstance(kind, dict):
            value = days(cell, kind["date"])
        else:
            value = spelled(cell, reading.get("decimal") or ".") if kind == "number" else plain(cell)
        if value is None:
            raise SystemExit(f"column {column['name']} has to be a number or empty, and is {cell!r}")
    row = []
    if encoding["scale"]:
        number = encoding["median"] if value is None else value
        if encoding["signed_log1p"]:
            number = math.copysign(math.log1p(abs(number)), number)
        if encoding.get("quantiles"):
            number = share(encoding["quantiles"], number)
        number = (number - encoding["scale"]["mean"]) / encoding["scale"]["sd"]
        row.append(min(max(number, -65536.0), 65536.0))
    used = encoding.get("codes", [])
    row += [float(code == other) for other in used]
    if encoding["missing_flag"]:
        row.append(float(value is None and code not in used))
    return row


class Net:
    def __init__(self, path):
        self.tensors, about = safetensors(path)
        self.model = json.loads(about["quantized"])["model"] if "quantized" in about else json.loads(about["model"])

    def linear(self, number, rows):
        name = f"layers.{number}"
        weight = self.tensors[f"{name}.weight"].astype(numpy.float64)
        if f"{name}.weight_scale" in self.tensors:
            scale = self.tensors[f"{name}.weight_scale"]
            weight = (self.tensors[f"{name}.weight"].astype(numpy.float32) * scale[:, None]).astype(numpy.float64)
        if f"{name}.input_scale" in self.tensors:
            scale, zero = self.tensors[f"{name}.input_scale"][0], numpy.float32(self.tensors[f"{name}.input_zero_point"][0])
            level = numpy.clip(numpy.rint(rows.astype(numpy.float32) / scale) + zero, 0, 255)
            rows = (level - zero) * scale
        return (rows.astype(numpy.float64) @ weight.T + self.tensors[f"{name}.bias"]).astype(numpy.float32)

    def normalised(self, number, rows):
        scale, shift, mean, variance = (
            self.tensors[f"norms.{number}.{kind}"].astype(numpy.float64)
            for kind in ("weight", "bias", "running_mean", "running_var")
        )
        return ((rows - mean) / numpy.sqrt(variance + 1e-5) * scale + shift).astype(numpy.float32)

    def activated(self, rows):
        rows = rows.astype(numpy.float64)
        kind = self.model["activation"]
        if kind == "relu":
            return numpy.maximum(rows, 0)
        if kind == "tanh":
            return numpy.tanh(rows)
        if kind == "silu":
            return rows / (1 + numpy.exp(-rows))
        return rows * numpy.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)))(rows)

    def probabilities(self, rows):
        if self.model["kind"] != "mlp":
            raise SystemExit("this script serves perceptrons alone")
        hidden = len(self.model["hidden"])
        for number in range(hidden):
            rows = self.linear(number, rows)
            if self.model["batch_norm"]:
                rows = self.normalised(number, rows)
            rows = self.activated(rows)
        logits = self.linear(hidden, rows).astype(numpy.float64)
        if logits.shape[1] == 1:
            return 1 / (1 + numpy.exp(-logits))
        powers = numpy.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def main():
    preparation_path, net_path, rows_path, *inputs_path = sys.argv[1:]
    with open(preparation_path, encoding="utf-8") as file:
        preparation = json.load(file)
    with open(rows_path, encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    rows = [sum((features(column, row[column["name"]]) for column in preparation["columns"]), []) for row in table]
    rows = numpy.array(rows, dtype=numpy.float64).astype(numpy.float32)
    if inputs_path:
        with open(inputs_path[0], encoding="utf-8") as file:
            rows = rows[:, json.load(file)["inputs"]]
    found = Net(net_path).probabilities(rows)
    for row in found:
        print(*row)
    if "probability" in table[0]:
        expected = numpy.array([float(row["probability"]) for row in table])
        difference = numpy.abs(found[:, 0] - expected).max()
        print(f"off by at most {difference:.1e}", file=sys.stderr)
        sys.exit(1 if not difference <= 1e-6 else 0)


main()
