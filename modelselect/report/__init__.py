"""The answer as a web page, as plots, and as text: what `Leaderboard.report`, `.plot` and `.to_...` call.

`content` says what there is to show, `charts` draws it (Bokeh), `page` makes one self-contained file of it, `text`
writes Markdown, LaTeX and a model card's section, and `figure` draws for notebooks (matplotlib).
"""
