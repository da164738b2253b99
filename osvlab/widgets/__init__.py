"""What a person sees and touches in a notebook.

Nothing here is needed to build or run an image, and nothing below imports it,
except that a VM, a watch and a boot timeline ask here how to show themselves when a notebook
asks them. So that is the only time when ipywidgets, anywidget and plotly are loaded.

- `console`: the console of a guest, live under a cell.
- `live`: a guest's free memory and threads as a live chart.
- `stream`, `sender`: what the two have in common, and when what is sent to a page.
- `timeline`: where the time of a boot went, as a plotly figure.
- `display`: what a VM, a watch and a timeline hand to the notebook.
"""
