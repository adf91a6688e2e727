"""Checks of what goes wrong before and between the processes of a stack."""
