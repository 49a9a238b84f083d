"""A model as a list of kernels.

from tilecast.graph.tracer import trace     # configuration or nn.Module -> KernelGraph (imports torch)
from tilecast.graph.kernels import KernelGraph   # .kernels() folded table, .expand() full list, .summary()
from tilecast.graph.fuse import fuse        # KernelGraph -> KernelGraph with elementwise chains as one kernel
from tilecast.graph.compare import compare  # against the artifact's operator graphs
"""
