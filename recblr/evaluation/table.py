"""The results of run folders as a Markdown table: ``python -m recblr.evaluation.table [FOLDER]``."""

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


def main() -> None:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else run_roots()[0]
    head = ["model", "protocol", "HR@10", "NDCG@10", "95 % of users", "parameters"]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *rows(root)]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
