"""`cnnkit export`: a run's network as a file that other programs run, written by Keras' own exporters.

Nothing here is imported by what trains. A format's packages are those of an extra; importing this package needs none.
"""
