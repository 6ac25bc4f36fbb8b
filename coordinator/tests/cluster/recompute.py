#!/usr/bin/env python3
"""Recomputes the trials of a report from their artifacts, in double precision, and shares no code with what made them.

    python3 recompute.py --report DIR/report.json --store DIR/.secateur/artifacts (--trial ID | --all)

Of each trial it checks that
  - the pruning plan removes as many weights as its cell asks for, and the mask is what the plan says;
  - a plan by magnitude removes the smallest weights of the dense net, ties by layer and place;
  - every removed weight is exactly zero in the checkpoint;
  - the logits of checkpoint and prepared rows are those in the scores, and the metrics of both are those in the report.

Needs NumPy. Ends with 0 if all is right, 1 if something differs, 2 if it cannot look.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

LOGIT_TOLERANCE = 1e-4
METRIC_TOLERANCE = 1e-5
# The same scores, the same arithmetic, another order of additions.
SCORE_TOLERANCE = 1e-9
SPLITS = ("validation", "test")
TYPES = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "U64": np.dtype("<u8"), "U32": np.dtype("<u4"), "U8": np.dtype("u1")}


class Difference(Exception):
    """Something is not what it should be."""


def require(holds, message):
    if not holds:
        raise Difference(message)


class Store:
    """Artifacts by their hash."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self._nets = None

    def bytes(self, name):
        try:
            return (self.root / name[:2] / name).read_bytes()
        except OSError as error:
            raise Difference(f"artifact {name} cannot be read: {error}") from error

    def tensors(self, name):
        return safetensors(self.bytes(name), name)

    def nets(self):
        """Every checkpoint in the store, by its shapes."""
        if self._nets is None:
            self._nets = {}
            for path in sorted(self.root.glob("[0-9a-f][0-9a-f]/*")):
                try:
                    tensors, metadata = safetensors(path.read_bytes(), path.name)
                except Difference:
                    continue  # JSON, or a table
                if "model" in metadata:
                    net = layers_of(tensors)
                    self._nets.setdefault(shapes(net), []).append(net)
        return self._nets


def safetensors(data, name):
    """Eight bytes of length, a JSON header, and the tensors' bytes."""
    try:
        length = int.from_bytes(data[:8], "little")
        require(8 + length <= len(data), f"artifact {name} is no safetensors file")
        header = json.loads(data[8 : 8 + length])
        metadata = header.pop("__metadata__", {})
        body = memoryview(data)[8 + length :]
        tensors = {}
        for key, entry in header.items():
            begin, end = entry["data_offsets"]
            values = np.frombuffer(body[begin:end], dtype=TYPES[entry["dtype"]])
            tensors[key] = values.reshape(entry["shape"])
        return tensors, metadata
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Difference(f"artifact {name} is no safetensors file: {error}") from error


def layers_of(tensors):
    """Weights [outputs, inputs] and biases [outputs], from the inputs on."""
    count = sum(key.endswith(".bias") for key in tensors)
    return [(tensors[f"layers.{i}.weight"], tensors[f"layers.{i}.bias"]) for i in range(count)]


def shapes(net):
    return tuple(weight.shape for weight, _ in net)


def logits_of(net, inputs):
    values = inputs.astype(np.float64)
    for index, (weight, bias) in enumerate(net):
        values = values @ weight.astype(np.float64).T + bias.astype(np.float64)
        if index + 1 < len(net):
            values = np.maximum(values, 0.0)
    return values[:, 0]


def mid_ranks(values):
    """Ranks from 1; tied values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def share_below(scores, thresholds):
    """The share of scores up to each threshold."""
    return np.searchsorted(np.sort(scores), thresholds, side="right") / len(scores)


def average_precision(logits, positive):
    """The precision at each threshold, weighted by the recall that it adds."""
    thresholds = np.unique(logits)[::-1]
    found = (1 - share_below(logits[positive], np.nextafter(thresholds, -np.inf))) * positive.sum()
    taken = (1 - share_below(logits, np.nextafter(thresholds, -np.inf))) * len(logits)
    return (np.diff(found, prepend=0.0) / positive.sum() * found / taken).sum()


def data_metrics(logits, targets):
    positive = targets == 1
    positives, negatives = int(positive.sum()), int((~positive).sum())
    n = len(targets)
    auc = (mid_ranks(logits)[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    thresholds = np.unique(logits)
    probabilities = 1 / (1 + np.exp(-logits))
    # -y ln p - (1 - y) ln (1 - p)
    log_loss = np.logaddexp(0, np.where(positive, -logits, logits)).mean()
    bins = np.minimum(np.floor(probabilities * 10), 9)
    ece = 0.0
    for index in range(10):
        inside = bins == index
        if inside.any():
            ece += inside.sum() / n * abs(probabilities[inside].mean() - targets[inside].mean())
    accuracy = ((probabilities >= 0.5) == positive).mean()
    return {
        "auc": auc,
        "gini": 2 * auc - 1,
        "ks": np.abs(share_below(logits[positive], thresholds) - share_below(logits[~positive], thresholds)).max(),
        "log_loss": log_loss,
        "brier": ((probabilities - targets) ** 2).mean(),
        "ece": ece,
        "accuracy": accuracy,
        "error": 1 - accuracy,
        "average_precision": average_precision(logits, positive),
    }


def slack(logits, targets, difference):
    """How far metrics that jump may differ because scores differ by up to `difference`: a row that near to a border of a bin may
    be on its other side, and a pair that near to each other may be in the other order."""
    positive, negative = np.sort(logits[targets == 1]), np.sort(logits[targets == 0])
    reach = 2 * difference

    def around(scores, middle):
        """How many of the sorted scores are within reach of each middle."""
        last = np.searchsorted(scores, middle + reach, side="right")
        return last - np.searchsorted(scores, middle - reach, side="left")

    pairs = around(negative, positive).sum() / (len(positive) * len(negative))
    thresholds = np.unique(logits)
    # A row at the threshold is always near; only those beyond the first of each class can change places.
    crowd = around(positive, thresholds) / len(positive) + around(negative, thresholds) / len(negative)
    alone = (around(positive, thresholds) + around(negative, thresholds)) <= 1
    borders = np.log(np.arange(1, 10) / np.arange(9, 0, -1))
    near = np.abs(logits[:, None] - borders) <= reach
    at_half = (np.abs(logits) <= reach).mean()
    return {
        "auc": pairs,
        "gini": 2 * pairs,
        "ks": np.where(alone, 0.0, crowd).max(),
        "ece": 2 * near.any(axis=1).mean(),
        "accuracy": at_half,
        "error": at_half,
        # A pair in the other order moves the precision at one positive row.
        "average_precision": around(negative, positive).sum() / len(positive),
    }


def net_metrics(net):
    weights = sum(weight.size for weight, _ in net)
    biases = sum(bias.size for _, bias in net)
    nonzero_weights = sum(int(np.count_nonzero(weight)) for weight, _ in net)
    nonzero = nonzero_weights + sum(int(np.count_nonzero(bias)) for _, bias in net)
    prunable = [weight for weight, _ in net[:-1]]
    zeros = sum(weight.size - int(np.count_nonzero(weight)) for weight in prunable)
    metrics = {
        "parameters": weights + biases,
        "nonzero_parameters": nonzero,
        "macs": nonzero_weights,
        "size_bytes": 4 * nonzero_weights + -(-weights // 8) + 4 * biases,
    }
    if prunable:
        metrics["sparsity"] = zeros / sum(weight.size for weight in prunable)
    if nonzero:
        metrics["compression_ratio"] = (weights + biases) / nonzero
    if nonzero_weights:
        metrics["theoretical_speedup"] = weights / nonzero_weights
    return metrics


def smallest(net, removal):
    """The places of the smallest weights: (layer, index) in the order of size, ties by layer and index."""
    prunable = [np.abs(weight.ravel()) for weight, _ in net[:-1]]
    if removal["scope"] == "global":
        groups, counts = [list(range(len(prunable)))], [removal["count"]]
    else:
        groups, counts = [[layer] for layer in range(len(prunable))], removal["counts"]
    places = []
    for group, count in zip(groups, counts):
        size = np.concatenate([prunable[layer] for layer in group])
        layer = np.concatenate([np.full(prunable[layer].size, layer) for layer in group])
        index = np.concatenate([np.arange(prunable[layer].size) for layer in group])
        order = np.lexsort((index, layer, size))[:count]
        places += zip(size[order].tolist(), layer[order].tolist(), index[order].tolist())
    return [(layer, index) for _, layer, index in sorted(places)]


def check_plan(trial, cell, store, net):
    """The mask of the plan: for each prunable layer, True where a weight is kept."""
    tensors, metadata = store.tensors(trial["artifacts"]["plan"])
    plan = json.loads(metadata["plan"])
    layers, indices, scores = (tensors[f"removed.{key}"] for key in ("layer", "index", "score"))
    require(len(layers) == len(indices) == len(scores), "the plan's lists have different lengths")
    removal = plan["removal"]
    asked = removal["count"] if removal["scope"] == "global" else sum(removal["counts"])
    require(len(layers) == asked, f"the plan lists {len(layers)} weights and says {asked}")
    require(asked == cell["removed_weights"], f"the plan removes {asked} weights and its cell {cell['removed_weights']}")
    require(np.all(scores[1:] >= scores[:-1]), "the plan is not sorted by score")

    kept = [np.ones(weight.size, dtype=bool) for weight, _ in net[:-1]]
    for layer, index in zip(layers.tolist(), indices.tolist()):
        require(layer < len(kept) and index < kept[layer].size, f"the plan names weight {index} of layer {layer}, which is none")
        require(kept[layer][index], f"the plan names weight {index} of layer {layer} twice")
        kept[layer][index] = False
    for layer, (summary, kept_here) in enumerate(zip(plan["layers"], kept)):
        found = int((~kept_here).sum())
        require(summary["removed"] == found, f"the plan says {summary['removed']} of layer {layer} go, and lists {found}")
        require(kept_here.any(), f"layer {layer} is left without a weight")
    wanted = cell.get("requested_sparsity")
    if str(cell["settings"]["pruning.strategy"]).startswith("scratch "):
        # What is asked for is that of the pruned net beside which this smaller one stands.
        wanted = 0.0
    if wanted is not None:
        # To the nearest integer of all; of a layer up or down, as the sum needs it.
        parts = [(np.concatenate(kept), 0.5)]
        parts += [(part, 1.0) for part in kept if removal["scope"] == "per_layer"]
        for part, most in parts:
            removed, exact = int((~part).sum()), wanted * part.size
            require(abs(removed - exact) <= most + 1e-6, f"{removed} of {part.size} weights go at a sparsity of {wanted}")
    if plan["criterion"] == {"name": "magnitude", "parameters": {}} and plan["ranking"] == "raw" and asked > 0:
        check_magnitude(store, net, removal, layers, indices, scores)
    return kept


def check_magnitude(store, net, removal, layers, indices, scores):
    """The report does not name the dense net: it is the one whose removed weights have the sizes that the plan says."""
    found = sorted(zip(scores.tolist(), layers.tolist(), indices.tolist()))
    candidates = 0
    for dense in store.nets().get(shapes(net), []):
        flat = [np.abs(weight.ravel()) for weight, _ in dense[:-1]]
        if all(float(flat[layer][index]) == score for score, layer, index in found):
            candidates += 1
            if smallest(dense, removal) == [(layer, index) for _, layer, index in found]:
                return
    if candidates == 0:
        raise Difference("no net in the store has the weights that the plan removes")
    raise Difference("the plan does not remove the smallest weights of the dense net")


def check_trial(trial, cell, store, worst):
    artifacts = trial["artifacts"]
    tensors, _ = store.tensors(artifacts["checkpoint"])
    net = layers_of(tensors)
    if "plan" in artifacts:
        kept = check_plan(trial, cell, store, net)
        mask, _ = store.tensors(artifacts["mask"])
        require(len(mask) == len(kept), "the mask does not have one tensor for each prunable layer")
        for layer, kept_here in enumerate(kept):
            bits = mask[f"layers.{layer}.weight"]
            weight = net[layer][0]
            require(bits.shape == weight.shape, f"mask and weights of layer {layer} have different shapes")
            require(np.array_equal(bits.ravel(), kept_here), f"the mask of layer {layer} is not what the plan says")
            alive = int(np.count_nonzero(weight.ravel()[~kept_here]))
            require(alive == 0, f"{alive} removed weights of layer {layer} are not zero")

    prepared, _ = store.tensors(artifacts["prepared"])
    scores, _ = store.tensors(artifacts["scores"])
    reported = trial["metrics"]
    for split in SPLITS:
        for what in ("rows", "targets"):
            same = np.array_equal(prepared[f"{split}.{what}"], scores[f"{split}.{what}"])
            require(same, f"the {what} of {split} in the scores are not those of the prepared data")
        targets = prepared[f"{split}.targets"].astype(np.float64)
        saved = scores[f"{split}.logits"].astype(np.float64)
        logits = logits_of(net, prepared[f"{split}.inputs"])
        require(saved.shape == logits.shape, f"there is not one score for each row of {split}")
        difference = float(np.abs(logits - saved).max())
        note(worst, f"logits, {split}", difference, LOGIT_TOLERANCE, "the logits differ")
        allowance = slack(logits, targets, difference)
        for source, of, tolerance in (("saved scores", saved, SCORE_TOLERANCE), ("checkpoint", logits, METRIC_TOLERANCE)):
            for name, value in data_metrics(of, targets).items():
                extra = allowance.get(name, 0.0) if source == "checkpoint" else 0.0
                gap = abs(value - reported[name][split])
                message = f"{name} is {value} from the {source}, and {reported[name][split]} in the report"
                note(worst, f"{name}, {split}, {source}", gap, tolerance + extra, message)
    expected = net_metrics(net)
    for name, value in expected.items():
        require(name in reported, f"the report lacks {name}")
        message = f"{name} is {value} of the checkpoint, and {reported[name]} in the report"
        note(worst, name, abs(value - reported[name]), METRIC_TOLERANCE, message)
    known = set(expected) | set(data_metrics(logits, targets))
    require(set(reported) == known, f"the report has metrics that are not checked: {sorted(set(reported) - known)}")

    curve = json.loads(store.bytes(artifacts["curve"]))
    best = curve["epochs"][curve["best_epoch"]]
    require(best["epoch"] == curve["best_epoch"], "the curve is not in the order of epochs")
    gap = abs(best["validation"]["auc"] - reported["auc"]["validation"])
    note(worst, "auc, validation, curve", gap, SCORE_TOLERANCE, "the curve's best epoch is not the net of the report")


def note(worst, name, gap, tolerance, message):
    # A gap that is not a number is no match either.
    require(gap <= tolerance, f"{message} (by {gap:.3g}, allowed {tolerance:.3g})")
    worst[name] = max(worst.get(name, 0.0), float(gap))


def arguments():
    parser = argparse.ArgumentParser(description="Recomputes the trials of a report from their artifacts.")
    parser.add_argument("--report", required=True, help="report.json")
    parser.add_argument("--store", required=True, help="the folder of artifacts: DIR/.secateur/artifacts of a run")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--trial", help="the id of one trial")
    which.add_argument("--all", action="store_true", help="every trial that completed")
    return parser.parse_args()


def main():
    options = arguments()
    try:
        report = json.loads(pathlib.Path(options.report).read_text())
    except (OSError, ValueError) as error:
        print(f"{options.report} cannot be read: {error}", file=sys.stderr)
        return 2
    cells = {cell["id"]: cell for cell in report["cells"]}
    trials = [trial for trial in report["trials"] if options.all or trial["id"] == options.trial]
    completed = [trial for trial in trials if trial["outcome"] == "completed"]
    if not completed:
        print("there is no such trial that completed", file=sys.stderr)
        return 2
    store, worst, wrong = Store(options.store), {}, 0
    for trial in completed:
        try:
            check_trial(trial, cells[trial["cell"]], store, worst)
        except Difference as difference:
            print(f"trial {trial['id']}: {difference}", file=sys.stderr)
            wrong += 1
        except KeyError as missing:
            print(f"trial {trial['id']}: there is no {missing}", file=sys.stderr)
            wrong += 1
    width = max(map(len, worst), default=0)
    print(f"{'largest difference':<{width}}")
    for name, gap in sorted(worst.items()):
        print(f"{name:<{width}}  {gap:.3g}")
    print(f"{len(completed) - wrong} of {len(completed)} trials are right; {len(trials) - len(completed)} did not complete")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
