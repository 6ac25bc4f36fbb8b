"""Makes the golden files beside this script: what PyTorch, or a direct transcription of a formula, computes for small
nets.

README.md says what each file holds. Nothing here shares code with the program that is tested.

    python generate.py          writes the files
    python generate.py --check  makes them again elsewhere and compares bytes
"""

import argparse
import filecmp
import json
import pathlib
import tempfile

import torch
from safetensors.torch import save_file

from criteria import (
    by_row,
    custom_mask,
    fisher,
    grasp,
    lamp,
    saliency,
    snip,
    synflow,
    synflow_scores,
    torch_prune,
    wanda,
)
from nets import NETS, Subject, layers_of, lowest_removed, named, prunable_of, removed, rounded
from optimizers import optimizers_file
from second_order import second_order_file
from tables import tables

SPARSITIES = (0.5, 0.9)
GRASP_TEMPERATURE = 200.0


def net_file(name):
    subject = Subject(name)
    net = subject.copy()
    logits = net(subject.inputs)
    loss = subject.loss(logits)
    loss.backward()
    layers = layers_of(net)
    arrays = {
        "inputs": subject.inputs,
        "targets": subject.targets,
        "logits": logits.detach(),
        "loss": loss.detach().reshape(1),
    }
    for part in ("weight", "bias"):
        arrays |= named("", [getattr(layer, part) for layer in layers], part)
        arrays |= named("gradient.", [getattr(layer, part).grad for layer in layers], part)
    arrays |= custom_mask(subject)

    scores = {
        "snip": snip(subject),
        "taylor": saliency(subject),
        "grasp": grasp(subject, 1.0, biases=False),
        "grasp_t200": grasp(subject, GRASP_TEMPERATURE, biases=False),
        "grasp_biases": grasp(subject, 1.0, biases=True),
        "fisher": fisher(subject),
        "lamp": [lamp(layer.weight) for layer in prunable_of(net)],
    }
    double = subject.copy(torch.float64)
    first = synflow_scores(double, subject.input_shape, [])
    for criterion, tensors in {**scores, "synflow": first}.items():
        arrays |= named(f"scores.{criterion}.", tensors)

    sizes = [layer.weight.numel() for layer in prunable_of(net)]
    index = {"prunable": sizes, "loss": float(loss.detach()), "removed": {}, "cut": {}}
    for sparsity in SPARSITIES:
        label = f"s{rounded(100 * sparsity)}"
        masks, counts = torch_prune(subject, sparsity)
        cuts = {}
        for criterion, tensors in scores.items():
            masks[criterion], cuts[criterion] = lowest_removed(tensors, rounded(sparsity * sum(sizes)))
        masks["synflow"], cuts["synflow"] = synflow(subject, sparsity)
        # A unit with one way in and one way out has equal scores on both, whose order is rounding; the result must not
        # depend on it.
        assert all(map(torch.equal, masks["synflow"], synflow(subject, sparsity, jitter=1e-10)[0]))
        if name != "conv" and sparsity == 0.5:
            tensors, norms = wanda(subject)
            masks["wanda"] = by_row(tensors, sparsity)
            arrays |= named("scores.wanda.", tensors)
            arrays |= named("scores.wanda.", norms, "input_norm")
        for criterion, tensors in masks.items():
            arrays |= named(f"mask.{label}.{criterion}.", tensors)
        index["removed"][label] = counts | {criterion: removed(tensors) for criterion, tensors in masks.items()}
        index["cut"][label] = cuts
    return arrays, index


def foreign():
    """A net of 4-3-1 as somebody else may have saved it: names, types and views of its own."""
    torch.manual_seed(7)
    return {
        "module.fc1.weight": torch.randn(4, 3).t(),
        "module.fc1.bias": torch.randn(3).to(torch.float16),
        "module.fc2.weight": torch.randn(2, 3, dtype=torch.float64)[1:],
        "module.fc2.bias": torch.randn(1).to(torch.bfloat16),
        "module.norm.num_batches_tracked": torch.tensor(5),
    }


def write(folder):
    def arrays(name, tensors):
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, folder / f"{name}.safetensors")

    def document(name, content):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")

    index = {"torch": torch.__version__, "nets": {}}
    for name in NETS:
        tensors, index["nets"][name] = net_file(name)
        arrays(name, tensors)
    saved = foreign()
    torch.save(saved, folder / "foreign.pt")
    arrays("foreign", saved)
    index["foreign"] = {name: tensor.float().tolist() for name, tensor in saved.items() if tensor.is_floating_point()}
    document("index", index)
    arrays("second_order", second_order_file())
    arrays("optimizers", optimizers_file())
    document("tables", tables())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    # The order of sums, and so the last bits, must not depend on the number of processors.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    here = pathlib.Path(__file__).parent
    if not check:
        write(here)
        return
    with tempfile.TemporaryDirectory() as scratch:
        write(pathlib.Path(scratch))
        names = sorted(path.name for path in pathlib.Path(scratch).iterdir())
        _, different, missing = filecmp.cmpfiles(here, scratch, names, shallow=False)
    if different or missing:
        raise SystemExit(f"not as they are here: {', '.join(different + missing)}")
    print(f"{len(names)} files, all equal")


if __name__ == "__main__":
    main()
