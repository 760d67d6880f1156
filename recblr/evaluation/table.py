"""The results of run folders as a Markdown table: ``python -m recblr.evaluation.table [FOLDER] [--by-cause]``."""

from __future__ import annotations

import sys
from pathlib import Path

from recblr.runs import METRICS, list_runs, read_metrics, run_roots


def rows(root: Path) -> list[str]:
    """One line a run below `root`: its metrics file, protocol, test HR@10, NDCG@10 and its interval, best first."""
    found = []
    for run in list_runs([root]):
        metrics = read_metrics(run.folder)
        if run.error or "test" not in metrics:
            continue
        test = metrics["test"]
        low, high = test["intervals"]["NDCG@10"]
        values = test["metrics"]
        place = f"{root.name}/{run.name}/{METRICS}"
        cells = [
            f"[{run.name}]({'sample_data/' + place})", f"`{test['protocol']['name']}`", f"{values['HR@10']:.4f}",
            f"{values['NDCG@10']:.4f}", f"{low:.4f} to {high:.4f}", f"{metrics['n_parameters']:,}",
        ]  # fmt: skip
        found.append((Path(run.name).parts[0], -values["NDCG@10"], f"| {' | '.join(cells)} |"))
    return [line for _, _, line in sorted(found)]


def rows_by_cause(root: Path) -> tuple[list[str], list[str]]:
    """(heads, one line a run below `root` that was tested on a log with causes): test HR@1 by cause, best first."""
    found, causes = [], []
    for run in list_runs([root]):
        table = [] if run.error else read_metrics(run.folder).get("test", {}).get("per_cause", [])
        if not table:
            continue
        causes = [row["cause"] for row in table]
        values = [float(row["metrics"]["HR@1"]) for row in table]
        cells = [f"[{run.name}]({root.name}/{run.name}/{METRICS})", *(f"{value:.2f}" for value in values)]
        found.append((-sum(values), f"| {' | '.join(cells)} |"))
    return ["model", *causes], [line for _, line in sorted(found)]


def main() -> None:
    arguments = [one for one in sys.argv[1:] if one != "--by-cause"]
    root = Path(arguments[0]) if arguments else run_roots()[0]
    head = ["model", "protocol", "HR@10", "NDCG@10", "95 % of users", "parameters"]
    head, lines = rows_by_cause(root) if "--by-cause" in sys.argv else (head, rows(root))
    sys.stdout.write("\n".join([f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *lines]) + "\n")


if __name__ == "__main__":
    main()
