"""Fault injection: simulation, model checking, and faults in real processes and servers."""
