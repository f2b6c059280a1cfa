"""Settings of the documentation build."""

from importlib.metadata import version as installed

project = "cytocar"
author = "The cytocar developers"
copyright = "2026, The cytocar developers"
release = version = installed("cytocar")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
autosummary_generate = True
autodoc_typehints = "none"
napoleon_google_docstring = False
nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path = ["_static"]
html_title = "cytocar"
