"""The processes of one machine: what is started, how it is watched, how it ends."""
