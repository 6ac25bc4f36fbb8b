"""Makes references.json beside this script: what scikit-learn's logistic regression and histogram gradient boosting
come to on some columns of German credit (configs/data/german_credit.csv).

    python references.py          writes the file
    python references.py --check  compares with the file

The boosted AUCs hold only to the third digit elsewhere: scikit-learn sums gradients in 32 bits and on several threads.
"""

import argparse
import csv
import json
import pathlib

import numpy as np
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

HERE = pathlib.Path(__file__).resolve().parent
TABLE = HERE.parents[2] / "configs" / "data" / "german_credit.csv"
NUMBERS = ["duration_months", "credit_amount", "installment_rate", "residence_since", "age", "existing_credits"]
LEVELS = ("checking_status", ["A11", "A12", "A13", "A14"])
TRAIN = 700
WEIGHTS = [0.7, 1.9]


def rows():
    with TABLE.open() as file:
        table = list(csv.DictReader(file))
    # In hundreds, the amount has fewer distinct values than bins: scikit-learn weights quantiles, and the program does not.
    number = lambda row, name: float(row[name]) // (100 if name == "credit_amount" else 1)
    inputs = [
        [number(row, name) for name in NUMBERS] + [float(row[LEVELS[0]] == level) for level in LEVELS[1]]
        for row in table
    ]
    return np.array(inputs), np.array([int(row["default"]) for row in table])


def logistic(inputs, targets, l2, weights):
    model = LogisticRegression(
        C=1.0 / l2, solver="newton-cholesky", tol=1e-12, max_iter=1000,
        class_weight=dict(enumerate(weights)) if weights else None,
    )
    model.fit(inputs[:TRAIN], targets[:TRAIN])
    logits = model.decision_function(inputs[TRAIN:])
    return {
        "l2": l2, "weights": weights or [1.0, 1.0], "intercept": model.intercept_[0], "coefficients": list(model.coef_[0]),
        "logits": list(logits[:10]), "auc": roc_auc_score(targets[TRAIN:], logits),
    }


def boosting(inputs, targets, trees, learning_rate, leaves, min_rows, bins, l2, weights):
    model = HistGradientBoostingClassifier(
        max_iter=trees, learning_rate=learning_rate, max_leaf_nodes=leaves, min_samples_leaf=min_rows, max_bins=bins,
        l2_regularization=l2, early_stopping=False, random_state=0,
    )
    of_rows = None if weights is None else np.array(weights)[targets[:TRAIN]]
    model.fit(inputs[:TRAIN], targets[:TRAIN], sample_weight=of_rows)
    logits = model.decision_function(inputs[TRAIN:])
    of_train = model.decision_function(inputs[:10])
    probabilities = model.predict_proba(inputs[TRAIN:])
    return {
        "trees": trees, "learning_rate": learning_rate, "leaves": leaves, "min_rows": min_rows, "bins": bins, "l2": l2,
        "weights": weights or [1.0, 1.0], "logits": list(of_train), "auc": roc_auc_score(targets[TRAIN:], logits),
        "log_loss": log_loss(targets[TRAIN:], probabilities),
    }


def golden():
    inputs, targets = rows()
    return {
        "scikit_learn": sklearn.__version__,
        "numbers": NUMBERS, "levels": list(LEVELS), "train": TRAIN,
        "logistic": [
            logistic(inputs, targets, 1.0, None),
            logistic(inputs, targets, 0.01, None),
            logistic(inputs, targets, 25.0, WEIGHTS),
        ],
        "boosting": [
            boosting(inputs, targets, 40, 0.1, 31, 20, 255, 0.0, None),
            boosting(inputs, targets, 100, 0.05, 8, 5, 255, 1.0, None),
            boosting(inputs, targets, 40, 0.1, 15, 20, 16, 0.0, None),
            boosting(inputs, targets, 40, 0.1, 15, 20, 255, 1.0, WEIGHTS),
        ],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    text = json.dumps(golden(), indent=1) + "\n"
    file = HERE / "references.json"
    if parser.parse_args().check:
        raise SystemExit(0 if file.read_text() == text else f"{file} differs")
    file.write_text(text)
