"""The control plane's process: admits members, publishes placement, probes health."""
