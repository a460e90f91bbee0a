"""Training: data, model, loop."""

import gc
import importlib

# Libraries make millions of objects and hardly any garbage while they are imported; the search for it is a sixth of a
# process's start.
collects = gc.isenabled()
gc.disable()
for library in ("torch", "transformers.modeling_utils"):
    importlib.import_module(library)
if collects:
    gc.enable()
