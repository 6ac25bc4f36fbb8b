#!/usr/bin/env python3
"""Times a training step of LeNet-300-100 in lanes against a plain loop in PyTorch, both on one thread, or on
the same GPU.

    python3 lenet_300_100.py BENCH [--device libtorch:cpu] [--optimizer sgd|adam] [--runs N]

BENCH is the built benchmark `bundles`: `cargo bench --profile dev -p secateur-worker --features libtorch --bench bundles --no-run` says
where it is. Prints for each number of lanes K the ratio of the time per step and lane to PyTorch's, measured alternately. The step is
that of configs/lenet-mnist.yaml: 100 rows, cross entropy, SGD with momentum and weight decay; or with Adam. PyTorch's loop does nothing
else; a lane's step also checks for numbers that are not finite. Lanes run as in a worker, whose allocator keeps memory;
PyTorch runs with its defaults, on an NVIDIA GPU if --device names one. Needs PyTorch 2.9. Quote the ratio.
"""

import argparse
import collections
import os
import statistics
import subprocess
import time

BATCH, SECONDS = 100, 10.0


def lanes(bench, device, optimizer):
    """Returns lane-steps per second by K."""
    environment = {**os.environ, "SECATEUR_BENCH_DEVICE": device}
    told = subprocess.run([bench, "lenet", optimizer], check=True, capture_output=True, text=True, env=environment).stdout
    return {int(line.split()[0]): float(line.split()[1]) for line in told.splitlines()}


def pytorch(device, optimizer):
    """Returns steps per second."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    place = device.removeprefix("libtorch:") if device.startswith("libtorch:cuda") else "cpu"
    rows = torch.rand(4 * BATCH, 784, device=place) - 0.5
    classes = torch.randint(10, (4 * BATCH,), device=place)
    layers = torch.nn.Linear(784, 300), torch.nn.ReLU(), torch.nn.Linear(300, 100), torch.nn.ReLU(), torch.nn.Linear(100, 10)
    net = torch.nn.Sequential(*layers).to(place)
    if optimizer == "adam":
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    else:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    # GPU calls are asynchronous: wait for the result.
    synchronize = torch.cuda.synchronize if rows.is_cuda else lambda: None
    steps, start = 0, None
    # The first steps allocate memory and fill caches.
    while start is None or time.monotonic() - start < SECONDS:
        if steps == 20 and start is None:
            synchronize()
            steps, start = 0, time.monotonic()
        chosen = torch.randint(4 * BATCH, (BATCH,), device=place)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(rows[chosen]), classes[chosen])
        loss.backward()
        optimizer.step()
        steps += 1
    synchronize()
    return steps / (time.monotonic() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench")
    parser.add_argument("--device", default="libtorch:cpu")
    parser.add_argument("--optimizer", choices=["sgd", "adam"], default="sgd")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    if not arguments.device.startswith(("cpu", "libtorch:cpu", "libtorch:cuda")):
        parser.error("PyTorch's loop runs on processors and on GPUs of NVIDIA's alone")
    seconds, peer = collections.defaultdict(list), []
    for run in range(arguments.runs):
        rates = lanes(arguments.bench, arguments.device, arguments.optimizer)
        for width, rate in rates.items():
            seconds[width].append(1 / rate)
        rate = pytorch(arguments.device, arguments.optimizer)
        peer.append(1 / rate)
        print(f"run {run + 1}: PyTorch {rate:.0f} steps/s; lane-steps/s {({k: round(v) for k, v in rates.items()})}", flush=True)
    # Wider bundles are not tried in a run in which they cannot win.
    for width, times in sorted(seconds.items()):
        print(f"K = {width}: {statistics.mean(times) / statistics.mean(peer):.2f} of PyTorch's time per step and lane")


if __name__ == "__main__":
    main()
