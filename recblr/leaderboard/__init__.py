"""The results table: every backbone on every log, trained alike, beside the published numbers.

    cells.py      what can be in the table: (log, protocol, backbone, preset, seed)
    rows.py       one result of one cell, and the JSON file of all of them
    grid.py       which cells the table asks for, and the recipe they share
    cost.py       time per recommendation and bytes of user state of a trained model
    adopt.py      from a finished run folder to a row
    work.py       train what is missing, cell by cell
    published.py  the numbers of the papers (published.toml) and whether ours reach them
    entries.py    rows of several seeds together
    page.py       the table as Markdown

`cells`, `rows`, `published`, `entries` and `page` import no torch.
"""
