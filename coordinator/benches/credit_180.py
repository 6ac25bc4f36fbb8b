#!/usr/bin/env python3
"""Times configs/credit-180.yaml against an expert's hand-written PyTorch program for this one sweep.

    python3 credit_180.py compare SECATEUR [--runs N]     both alternately: seconds of each run and the ratio of the sums
    python3 credit_180.py peer CSV [--threads N] [--lanes N]      only the PyTorch program (the peer)

The peer shares the dense nets of a seed, trains all retraining lanes of a bundle in one program of batched matrix products with an Adam
of its own, and scores the test rows once. It keeps no plans, checkpoints, curves or validation scores. Its wall time includes
imports and reading of the table, as that of `secateur run` includes its start. Needs PyTorch 2.9, NumPy, pandas and
scikit-learn. Only compare figures of one machine that were measured alternately, and quote the ratio.
"""

import argparse
import itertools
import os
import pathlib
import subprocess
import sys
import tempfile
import time

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / "configs"
STRATEGIES = ["random", "magnitude_local", "magnitude_global", "taylor"]
SPARSITIES = [0.5, 0.75, 0.875, 0.9375, 0.96875]
STRENGTHS = [0.0, 1e-5, 1e-4]
SEEDS = [0, 1, 2]
HIDDEN, BATCH, DENSE_EPOCHS, RETRAIN_EPOCHS, RATE = (64, 32), 256, 20, 10, 1e-3
BETAS, EPSILON = (0.9, 0.999), 1e-8
TAYLOR_ROWS = 2048


def compare(binary, runs):
    table = CONFIGS / "data" / "sba_loans.csv.gz"
    processors = str(len(os.sched_getaffinity(0)))
    peer = [sys.executable, __file__, "peer", str(table), "--threads", processors]
    totals = {"secateur": 0.0, "peer": 0.0}
    for run in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            sweep = [binary, "run", str(CONFIGS / "credit-180.yaml"), "--out", folder]
            for name, command in (("secateur", sweep), ("peer", peer)):
                start = time.monotonic()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                seconds = time.monotonic() - start
                totals[name] += seconds
                print(f"run {run + 1}: {name} {seconds:.1f} s", flush=True)
    print(f"secateur / peer: {totals['secateur'] / totals['peer']:.3f}")


def load(path, torch, np, pd):
    """Returns inputs and targets of the parts train, validation and test, as tensors."""
    table = pd.read_csv(path)
    targets = table.iloc[:, -1].to_numpy(np.float32)
    inputs = table.iloc[:, :-1]
    inputs = pd.get_dummies(inputs.fillna(inputs.median(numeric_only=True)), dtype=float).to_numpy(np.float32)
    rows = len(targets)
    order = np.random.default_rng(42).permutation(rows)
    train, validation, test = np.split(order, [int(0.6 * rows), int(0.8 * rows)])
    inputs = np.sign(inputs) * np.log1p(np.abs(inputs))
    inputs = (inputs - inputs[train].mean(0)) / (inputs[train].std(0) + 1e-6)
    return [(torch.tensor(inputs[part]), torch.tensor(targets[part])) for part in (train, validation, test)]


def peer(path, threads, lanes):
    import numpy as np
    import pandas as pd
    import torch
    import torch.nn.functional as functional
    from sklearn.metrics import roc_auc_score

    torch.set_num_threads(threads)
    (inputs, targets), _, (test_inputs, test_targets) = load(path, torch, np, pd)
    layers = len(HIDDEN) + 1

    def logits(weights, biases, values):
        for layer in range(layers):
            values = torch.baddbmm(biases[layer], values, weights[layer])
            if layer + 1 < layers:
                values = values.relu()
        return values

    def train(weights, biases, masks, strengths, epochs, seeds):
        """Trains nets `weights[layer]` [K, inputs, outputs] in lockstep; nets of one seed see one order of rows."""
        parameters = [part.clone().requires_grad_() for part in weights + biases]
        first = [torch.zeros_like(part) for part in parameters]
        second = [torch.zeros_like(part) for part in parameters]
        distinct = sorted(set(seeds))
        of_net = torch.tensor([distinct.index(seed) for seed in seeds])
        generators = [torch.Generator().manual_seed(seed) for seed in distinct]
        step = 0
        for _ in range(epochs):
            orders = torch.stack([torch.randperm(len(inputs), generator=generator) for generator in generators])
            for start in range(0, len(inputs), BATCH):
                rows = orders[:, start : start + BATCH]
                step += 1
                values = logits(parameters[:layers], parameters[layers:], inputs[rows][of_net])
                losses = functional.binary_cross_entropy_with_logits(
                    values.squeeze(2), targets[rows][of_net], reduction="none"
                )
                gradients = torch.autograd.grad(losses.mean(1).sum(), parameters)
                with torch.no_grad():
                    for index, (part, gradient) in enumerate(zip(parameters, gradients)):
                        if index < layers and strengths is not None:
                            gradient = gradient + strengths.view(-1, 1, 1) * part.sign()
                        first[index].mul_(BETAS[0]).add_(gradient, alpha=1 - BETAS[0])
                        second[index].mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
                        length = (second[index] / (1 - BETAS[1] ** step)).sqrt_().add_(EPSILON)
                        part.addcdiv_(first[index] / (1 - BETAS[0] ** step), length, value=-RATE)
                        if index < layers and masks is not None:
                            part.mul_(masks[index])
        return [part.detach() for part in parameters[:layers]], [part.detach() for part in parameters[layers:]]

    def initial(seed):
        torch.manual_seed(seed)
        widths = [inputs.shape[1], *HIDDEN, 1]
        linear = [torch.nn.Linear(*sizes) for sizes in itertools.pairwise(widths)]
        weights = [layer.weight.detach().t().contiguous() for layer in linear]
        return weights, [layer.bias.detach().view(1, -1) for layer in linear]

    def scores(strategy, seed, weights, biases):
        """Returns the pruning scores of the weights of all layers but the last."""
        if strategy == "random":
            generator = torch.Generator().manual_seed(seed)
            return [torch.rand(part.shape, generator=generator) for part in weights[:-1]]
        if strategy == "taylor":
            leaves = [part.clone().requires_grad_() for part in weights]
            values = logits([leaf[None] for leaf in leaves], [bias[None] for bias in biases], inputs[None, :TAYLOR_ROWS])
            loss = functional.binary_cross_entropy_with_logits(values[0, :, 0], targets[:TAYLOR_ROWS])
            return [(p * g).abs() for p, g in zip(weights[:-1], torch.autograd.grad(loss, leaves))]
        return [part.abs() for part in weights[:-1]]

    def kept(values, sparsity):
        return (values.flatten().argsort().argsort() >= round(sparsity * values.numel())).float()

    def masks_of(cell, weights, biases):
        strategy, sparsity, _, seed = cell
        found = scores(strategy, seed, weights, biases)
        if strategy in ("random", "magnitude_local"):
            masks = [kept(part, sparsity).view(part.shape) for part in found]
        else:
            whole = kept(torch.cat([part.flatten() for part in found]), sparsity)
            parts = whole.split([part.numel() for part in found])
            masks = [mask.view(part.shape) for mask, part in zip(parts, found)]
        return [*masks, torch.ones_like(weights[-1])]

    def stack(nets):
        return [torch.stack(parts) for parts in zip(*nets)]

    weights, biases = map(stack, zip(*map(initial, SEEDS)))
    weights, biases = train(weights, biases, None, None, DENSE_EPOCHS, SEEDS)
    cells = list(itertools.product(STRATEGIES, SPARSITIES, STRENGTHS, SEEDS))
    starts = []
    for cell in cells:
        net = SEEDS.index(cell[-1])
        dense = [part[net] for part in weights], [part[net] for part in biases]
        masks = masks_of(cell, *dense)
        starts.append(([part * mask for part, mask in zip(dense[0], masks)], dense[1], masks))
    aucs = []
    for begin in range(0, len(cells), lanes):
        bundle = slice(begin, begin + lanes)
        start_weights, start_biases, masks = map(stack, zip(*starts[bundle]))
        strengths = torch.tensor([cell[2] for cell in cells[bundle]])
        seeds = [cell[-1] for cell in cells[bundle]]
        found = train(start_weights, start_biases, masks, strengths, RETRAIN_EPOCHS, seeds)
        values = logits(*found, test_inputs.expand(len(seeds), -1, -1))
        aucs += [roc_auc_score(test_targets.numpy(), net[:, 0].numpy()) for net in values]
    print(f"{len(aucs)} trials, {inputs.shape[1]} inputs, mean test AUC {sum(aucs) / len(aucs):.4f}, best {max(aucs):.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    both = verbs.add_parser("compare")
    both.add_argument("secateur")
    both.add_argument("--runs", type=int, default=3)
    alone = verbs.add_parser("peer")
    alone.add_argument("csv")
    alone.add_argument("--threads", type=int, default=2)
    alone.add_argument("--lanes", type=int, default=60)
    options = parser.parse_args()
    if options.verb == "compare":
        compare(options.secateur, options.runs)
    else:
        peer(options.csv, options.threads, options.lanes)


if __name__ == "__main__":
    main()
