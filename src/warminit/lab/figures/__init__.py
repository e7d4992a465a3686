"""Draw results, filters and pixels: charts by Altair, pictures as SVG; one module a family.

    theme.py         arm, outcome -> colour and shape; light or dark -> configuration
    forest.py        Analysis -> forest plot
    seed_lines.py    Analysis -> a line a seed from arm to arm
    look_paths.py    Analysis of a sequential study -> evidence and boundaries, look by look
    curves.py        Analysis -> learning curves with bands over the seeds
    power.py         Analysis -> the effect that so many seeds would see
    grid.py          rows of a grid search -> heat maps
    pixel_charts.py  data set, rules -> pixel histogram, distribution of patch norms
    pictures.py      filters, patches, images -> SVG
    pipeline.py      a batch -> every stage on its way to filters
    render.py        figure -> SVG, PNG, PDF

Every function is pure: the same values give the same figure. `width` is in pixels for a file, or
"container" in a page.
"""
