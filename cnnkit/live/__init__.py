"""The live page: what a training process tells of itself, and the server that shows it in a browser.

The training process writes a few small files into the run directory, whether or not anybody watches. The server reads
them, in a process of its own that knows nothing of TensorFlow.
"""
