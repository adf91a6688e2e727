"""What travels between the processes: types only, no I/O."""
