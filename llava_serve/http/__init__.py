"""HTTP as every process of ours serves it: connections, bodies, access, errors, the stop."""
