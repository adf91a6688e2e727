"""Launcher of the processes of one machine: plan, supervision, console."""
